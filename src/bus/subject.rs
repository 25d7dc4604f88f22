//! Every subject, stream and bucket by name. The only place that spells them.

use super::Queue;
use super::control::Cancellation;
use super::record::RecordKey;
use crate::config;
use crate::event::{CommandId, CommandKey, Target};

/// The names below one prefix, such as `istio`.
#[derive(Debug, Clone)]
pub struct Subjects {
    prefix: String,
    parameter_stores: Vec<String>,
}

impl Subjects {
    /// Names below `prefix`, which the configuration has checked to be one token.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), parameter_stores: Vec::new() }
    }

    /// The names of a configuration.
    #[must_use]
    pub fn of(bus: &config::Bus) -> Self {
        Self { parameter_stores: bus.parameter_stores.clone(), ..Self::new(&bus.prefix) }
    }

    /// `istio.cmd.<target>.<verb>`; a verb's dots part tokens.
    #[must_use]
    pub fn command(&self, target: &Target, verb: &str) -> String {
        format!("{}.cmd.{target}.{verb}", self.prefix)
    }

    /// All commands.
    #[must_use]
    pub fn commands(&self) -> String {
        format!("{}.cmd.>", self.prefix)
    }

    /// All commands of a verb.
    #[must_use]
    pub fn commands_of(&self, verb: &str) -> String {
        format!("{}.cmd.*.{verb}", self.prefix)
    }

    /// Target and verb of a command's subject.
    #[must_use]
    pub fn parse_command(&self, subject: &str) -> Option<(Target, String)> {
        self.parse(".cmd.", subject)
    }

    /// `istio.due.<target>.<verb>`: a waiting command whose time has come. The server publishes it from a schedule.
    #[must_use]
    pub fn due(&self, target: &Target, verb: &str) -> String {
        format!("{}.due.{target}.{verb}", self.prefix)
    }

    /// All waiting commands whose time has come.
    #[must_use]
    pub fn all_due(&self) -> String {
        format!("{}.due.>", self.prefix)
    }

    /// Target and verb of a due command's subject.
    #[must_use]
    pub fn parse_due(&self, subject: &str) -> Option<(Target, String)> {
        self.parse(".due.", subject)
    }

    fn parse(&self, kind: &str, subject: &str) -> Option<(Target, String)> {
        let (target, verb) = subject.strip_prefix(&self.prefix)?.strip_prefix(kind)?.split_once('.')?;
        Some((target.parse().ok()?, verb.to_owned()))
    }

    /// Subject of the command stream while `sailhand topology apply` moves its messages. No client publishes on it.
    #[must_use]
    pub fn moving(&self) -> String {
        format!("{}.moving.>", self.prefix)
    }

    /// Stream and subjects of all commands that wait for their first or next attempt. The third token of each
    /// subject is the target.
    #[must_use]
    pub fn queues(&self) -> [(String, String); 3] {
        [
            (self.command_stream(), self.commands()),
            (self.waiting_stream(), self.schedules()),
            (self.waiting_stream(), self.all_due()),
        ]
    }

    /// `istio.sched.<target>.<key>`: the message schedule of a waiting command.
    #[must_use]
    pub fn schedule(&self, command: &CommandId) -> String {
        format!("{}.sched.{command}", self.prefix)
    }

    /// Whether a subject is that of a message schedule.
    #[must_use]
    pub fn is_schedule(&self, subject: &str) -> bool {
        subject.strip_prefix(&self.prefix).is_some_and(|rest| rest.starts_with(".sched."))
    }

    /// The due subject for a message of any other subject: its first two tokens are replaced.
    #[must_use]
    pub fn due_for(&self, subject: &str) -> String {
        let rest = subject.splitn(3, '.').nth(2).unwrap_or("unknown");
        format!("{}.due.{rest}", self.prefix)
    }

    /// The schedules that a cancellation applies to.
    #[must_use]
    pub fn schedules_of(&self, cancellation: &Cancellation) -> String {
        let Cancellation { key, target } = cancellation;
        target.as_ref().map_or_else(
            || self.schedule_of(key),
            |target| self.schedule(&CommandId { target: target.clone(), key: key.clone() }),
        )
    }

    /// The schedules of the commands with this key on all targets.
    #[must_use]
    pub fn schedule_of(&self, key: &CommandKey) -> String {
        format!("{}.sched.*.{key}", self.prefix)
    }

    /// All message schedules.
    #[must_use]
    pub fn schedules(&self) -> String {
        format!("{}.sched.>", self.prefix)
    }

    /// `istio.evt.<target>.<key>.<kind>`.
    #[must_use]
    pub fn event(&self, target: &Target, key: &CommandKey, kind: &str) -> String {
        format!("{}.evt.{target}.{key}.{kind}", self.prefix)
    }

    /// `istio.evt.<target>.<key or s + stream sequence>.deadlettered`.
    #[must_use]
    pub fn dead_letter_event(&self, target: &str, id: &str, kind: &str) -> String {
        format!("{}.evt.{target}.{id}.{kind}", self.prefix)
    }

    /// All progress events.
    #[must_use]
    pub fn events(&self) -> String {
        format!("{}.evt.>", self.prefix)
    }

    /// The events of one kind, such as `started`; `target` may be `*`.
    #[must_use]
    pub fn events_of_kind(&self, target: &str, kind: &str) -> String {
        format!("{}.evt.{target}.*.{kind}", self.prefix)
    }

    /// The progress events of one command, whatever its target.
    #[must_use]
    pub fn events_of(&self, key: &CommandKey) -> String {
        format!("{}.evt.*.{key}.>", self.prefix)
    }

    /// The progress events of one command on its target.
    #[must_use]
    pub fn events_of_command(&self, command: &CommandId) -> String {
        format!("{}.evt.{command}.>", self.prefix)
    }

    /// `istio.res.<target>.<key>`.
    #[must_use]
    pub fn result(&self, command: &CommandId) -> String {
        format!("{}.res.{command}", self.prefix)
    }

    /// The result of one command, whatever its target.
    #[must_use]
    pub fn result_of(&self, key: &CommandKey) -> String {
        format!("{}.res.*.{key}", self.prefix)
    }

    /// The results of one target.
    #[must_use]
    pub fn results_of(&self, target: &str) -> String {
        format!("{}.res.{target}.*", self.prefix)
    }

    /// All results.
    #[must_use]
    pub fn results(&self) -> String {
        format!("{}.res.>", self.prefix)
    }

    /// `istio.dlq.<reason>.<target>.<key or s + stream sequence>`.
    #[must_use]
    pub fn dead_letter(&self, reason: &str, target: &str, id: &str) -> String {
        format!("{}.dlq.{reason}.{target}.{id}", self.prefix)
    }

    /// All dead letters.
    #[must_use]
    pub fn dead_letters(&self) -> String {
        format!("{}.dlq.>", self.prefix)
    }

    /// `$KV.istio_lease.<target>.<installation>`.
    #[must_use]
    pub fn lease(&self, target: &Target, installation: &str) -> String {
        format!("$KV.{}.{target}.{installation}", self.lease_bucket())
    }

    /// `$KV.istio_attempt.<target>.<key>` of a command.
    #[must_use]
    pub fn attempts(&self, record: &RecordKey) -> String {
        format!("$KV.{}.{record}", self.attempt_bucket())
    }

    /// `$KV.istio_control.cancel.<target>.<key>`, or `$KV.istio_control.cancel.<key>` for all targets.
    #[must_use]
    pub fn cancel(&self, cancellation: &Cancellation) -> String {
        let Cancellation { key, target } = cancellation;
        let bucket = self.control_bucket();
        target.as_ref().map_or_else(
            || format!("$KV.{bucket}.cancel.{key}"),
            |target| format!("$KV.{bucket}.cancel.{target}.{key}"),
        )
    }

    /// The cancellation that a subject of the control bucket names.
    #[must_use]
    pub fn parse_cancel(&self, subject: &str) -> Option<Cancellation> {
        let rest = subject.strip_prefix(&format!("$KV.{}.cancel.", self.control_bucket()))?;
        let (target, key) = match rest.split_once('.') {
            Some((target, key)) => (Some(target.parse().ok()?), key),
            None => (None, rest),
        };
        Some(Cancellation { key: key.parse().ok()?, target })
    }

    /// The target that a subject of the control bucket pauses.
    #[must_use]
    pub fn parse_pause<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&format!("$KV.{}.pause.", self.control_bucket()))
    }

    /// `$KV.istio_control.pause.<target>`.
    #[must_use]
    pub fn pause(&self, target: &Target) -> String {
        format!("$KV.{}.pause.{target}", self.control_bucket())
    }

    /// All pauses.
    #[must_use]
    pub fn pauses(&self) -> String {
        format!("$KV.{}.pause.*", self.control_bucket())
    }

    /// `$KV.istio_target.<target>.<worker>`: the card of a target that a worker publishes. Characters of the worker's name
    /// that a subject token cannot have become `_`.
    #[must_use]
    pub fn target_card(&self, target: &str, worker: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let worker: String = worker.chars().map(plain).collect();
        format!("$KV.{}.{target}.{worker}", self.target_bucket())
    }

    /// The cards of all targets.
    #[must_use]
    pub fn target_cards(&self) -> String {
        format!("$KV.{}.>", self.target_bucket())
    }

    /// All requests of operators.
    #[must_use]
    pub fn controls(&self) -> String {
        format!("$KV.{}.>", self.control_bucket())
    }

    /// `ISTIO_CMD` and its like.
    fn stream(&self, suffix: &str) -> String {
        format!("{}_{suffix}", self.prefix.to_ascii_uppercase())
    }

    /// The work queue.
    #[must_use]
    pub fn command_stream(&self) -> String {
        self.stream("CMD")
    }

    /// Waiting commands: schedules, and the commands that they publish. Only workers write to it.
    #[must_use]
    pub fn waiting_stream(&self) -> String {
        self.stream("WAIT")
    }

    /// The stream of a queue.
    #[must_use]
    pub fn stream_of(&self, queue: Queue) -> String {
        match queue {
            Queue::Commands => self.command_stream(),
            Queue::Waiting => self.waiting_stream(),
        }
    }

    /// Progress events.
    #[must_use]
    pub fn event_stream(&self) -> String {
        self.stream("EVT")
    }

    /// Results.
    #[must_use]
    pub fn result_stream(&self) -> String {
        self.stream("RES")
    }

    /// Dead letters.
    #[must_use]
    pub fn dead_letter_stream(&self) -> String {
        self.stream("DLQ")
    }

    /// Captured advisories of the streams of commands.
    #[must_use]
    pub fn advisory_stream(&self) -> String {
        self.stream("ADV")
    }

    /// Leases; their bucket's `max_age` is the time to live.
    #[must_use]
    pub fn lease_bucket(&self) -> String {
        format!("{}_lease", self.prefix)
    }

    /// Attempt records.
    #[must_use]
    pub fn attempt_bucket(&self) -> String {
        format!("{}_attempt", self.prefix)
    }

    /// Cancellations and pauses.
    #[must_use]
    pub fn control_bucket(&self) -> String {
        format!("{}_control", self.prefix)
    }

    /// Cards of the targets that workers have.
    #[must_use]
    pub fn target_bucket(&self) -> String {
        format!("{}_target", self.prefix)
    }

    /// Parameters too large for a message.
    #[must_use]
    pub fn blob_bucket(&self) -> String {
        format!("{}_blob", self.prefix)
    }

    /// All buckets of parameters: [`Subjects::blob_bucket`], and one for each store of the configuration.
    #[must_use]
    pub fn parameter_buckets(&self) -> Vec<String> {
        let blob = self.blob_bucket();
        let stores = self.parameter_stores.iter().map(|store| format!("{blob}_{store}"));
        std::iter::once(blob.clone()).chain(stores).collect()
    }

    /// Where clients of this configuration store parameters.
    #[must_use]
    pub fn own_parameter_bucket(&self) -> String {
        let mut buckets = self.parameter_buckets();
        buckets.swap_remove(1.min(buckets.len() - 1))
    }

    /// Attachments of results. Separate from the parameters, which not all readers of results may read.
    #[must_use]
    pub fn attachment_bucket(&self) -> String {
        format!("{}_attachment", self.prefix)
    }
}

/// Name of the one consumer of the command stream, and of the one of the waiting stream.
pub const CONSUMER: &str = "worker";
/// Name of the one consumer of the advisories.
pub const SWEEPER: &str = "sweeper";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancellation_subject_and_its_parts_agree() {
        let subjects = Subjects::new("istio");
        let command = CommandId::new(&"dev".parse().unwrap(), &CommandKey::new("/test", "1"));
        for cancellation in [Cancellation::from(&command), Cancellation::of_all_targets(&command.key)] {
            assert_eq!(subjects.parse_cancel(&subjects.cancel(&cancellation)), Some(cancellation));
        }
        for bad in ["$KV.istio_control.cancel.x", "$KV.istio_control.pause.dev", "$KV.istio_control.cancel.A.b"] {
            assert_eq!(subjects.parse_cancel(bad), None, "{bad}");
        }
        assert_eq!(subjects.parse_pause("$KV.istio_control.pause.dev"), Some("dev"));
    }

    #[test]
    fn command_subject_and_its_parts_agree() {
        let subjects = Subjects::new("istio");
        let target: Target = "dev".parse().unwrap();
        let subject = subjects.command(&target, "config.apply");
        assert_eq!(subject, "istio.cmd.dev.config.apply");
        assert_eq!(subjects.parse_command(&subject), Some((target, "config.apply".to_owned())));
        for bad in ["istio.cmd.dev", "istio.cmd.DEV.ping", "other.cmd.dev.ping", "istio.due.dev.ping"] {
            assert_eq!(subjects.parse_command(bad), None, "{bad}");
        }
        let due = subjects.due(&"dev".parse().unwrap(), "config.apply");
        assert_eq!(subjects.parse_due(&due), subjects.parse_command("istio.cmd.dev.config.apply"));
        assert_eq!(subjects.parse_due("istio.cmd.dev.ping"), None);
    }
}
