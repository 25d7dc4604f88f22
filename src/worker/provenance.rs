//! Checks how a message was published on its subject, by headers that only NATS interprets. NATS permissions protect a subject from
//! clients, but not from message schedules: the server publishes those itself, on any subject of the stream, for any client that
//! may publish on one of them (nats-architecture-and-design ADR-51). So a command from a schedule is accepted only if it
//! is the worker's own schedule of this very command, and a client's message may not be a schedule. The command stream
//! permits neither schedules nor roll-ups; these checks are the second line of defense, and judge messages that
//! `sailhand topology apply` moved from an earlier installation.

use super::Error;
use crate::bus::{MOVED, UNREADABLE};
use crate::event;

/// The server writes it into what a schedule publishes: the subject of the schedule. It refuses it from clients, except
/// beside `Nats-Schedule-Next: purge`.
const SCHEDULER: &str = "nats-scheduler";
/// The server writes it into what a schedule publishes.
const SCHEDULE_NEXT: &str = "nats-schedule-next";
/// All other headers that begin so make a message a schedule.
const SCHEDULE: &str = "nats-schedule";
/// Deletes the other messages of the subject, or of the stream.
const ROLLUP: &str = "nats-rollup";

/// Checks the headers of a delivery. `schedule` is the subject on which workers schedule the command that it carries;
/// `None` if it carries none, or comes from the command stream.
///
/// # Errors
/// [`Error::ForeignSchedule`], [`Error::ForbiddenHeader`], and [`event::Error::NotAnEvent`] for a moved message whose
/// headers could not be read.
pub fn check<'a>(
    headers: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    schedule: Option<&str>,
) -> Result<(), Error> {
    let mut is_scheduled = false;
    for (name, value) in headers.clone() {
        if name.eq_ignore_ascii_case(UNREADABLE) {
            let reason = format!("its headers cannot be read: {value}");
            return Err(event::Error::NotAnEvent { reason }.into());
        }
        if original(name) == SCHEDULER {
            if schedule != Some(value) {
                return Err(Error::ForeignSchedule { schedule: value.chars().take(256).collect() });
            }
            is_scheduled = true;
        }
    }
    for (name, _) in headers {
        let lower = original(name);
        let is_servers = lower == SCHEDULER || lower == SCHEDULE_NEXT && is_scheduled;
        if lower == ROLLUP || lower.starts_with(SCHEDULE) && !is_servers {
            return Err(Error::ForbiddenHeader { name: name.chars().take(64).collect() });
        }
    }
    Ok(())
}

/// The name that a header had before its message was moved, in lower case.
fn original(name: &str) -> String {
    let is_moved = name.get(..MOVED.len()).is_some_and(|start| start.eq_ignore_ascii_case(MOVED));
    let original = if is_moved { &name[MOVED.len()..] } else { name };
    original.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "istio.sched.dev.0123";

    fn check_all(headers: &[(&str, &str)], schedule: Option<&str>) -> Result<(), Error> {
        check(headers.iter().copied(), schedule)
    }

    #[test]
    fn published_command_and_own_schedule_are_accepted() {
        for headers in [
            &[][..],
            &[("Nats-Msg-Id", "1"), ("Nats-TTL", "1h"), ("Nats-Expected-Stream", "ISTIO_CMD"), ("ce-id", "1")],
            &[("Nats-Scheduler", OWN), ("Nats-Schedule-Next", "purge")],
            &[("nats-scheduler", OWN)],
        ] {
            assert!(check_all(headers, Some(OWN)).is_ok(), "{headers:?}");
        }
    }

    #[test]
    fn schedule_of_another_command_is_refused() {
        for (scheduler, own) in [
            ("istio.cmd.dev.ping", Some(OWN)),
            ("istio.sched.prod.0123", Some(OWN)),
            ("istio.sched.dev.01234", Some(OWN)),
            ("ISTIO.sched.dev.0123", Some(OWN)),
            ("", Some(OWN)),
            (OWN, None),
        ] {
            let refused = check_all(&[("Nats-Scheduler", scheduler), ("Nats-Schedule-Next", "purge")], own);
            assert!(matches!(refused, Err(Error::ForeignSchedule { .. })), "{scheduler}: {refused:?}");
        }
        let twice = [("Nats-Scheduler", OWN), ("nats-scheduler", "istio.cmd.dev.ping")];
        assert!(matches!(check_all(&twice, Some(OWN)), Err(Error::ForeignSchedule { .. })));
    }

    #[test]
    fn moved_message_is_judged_by_its_original_headers() {
        let own = [("Istio-Moved-Nats-Scheduler", OWN), ("Istio-Moved-Nats-Schedule-Next", "purge")];
        assert!(check_all(&own, Some(OWN)).is_ok());
        let foreign = check_all(&[("Istio-Moved-Nats-Scheduler", "istio.cmd.dev.ping")], Some(OWN));
        assert!(matches!(foreign, Err(Error::ForeignSchedule { .. })), "{foreign:?}");
        for name in ["Istio-Moved-Nats-Schedule", "istio-moved-nats-rollup"] {
            let refused = check_all(&[(name, "x")], Some(OWN));
            assert!(matches!(refused, Err(Error::ForbiddenHeader { .. })), "{name}: {refused:?}");
        }
        assert!(check_all(&[("Istio-Moved-Unreadable", "not UTF-8")], Some(OWN)).is_err());
    }

    #[test]
    fn delivery_that_is_a_schedule_or_a_rollup_is_refused() {
        for name in [
            "Nats-Schedule",
            "nats-schedule",
            "Nats-Schedule-Target",
            "Nats-Schedule-TTL",
            "Nats-Schedule-Source",
            "Nats-Schedule-Rollup",
            "Nats-Schedule-Next",
            "Nats-Rollup",
            "NATS-ROLLUP",
        ] {
            let refused = check_all(&[(name, "x")], Some(OWN));
            assert!(matches!(refused, Err(Error::ForbiddenHeader { .. })), "{name}: {refused:?}");
        }
        let scheduled = [("Nats-Scheduler", OWN), ("Nats-Schedule-Next", "purge"), ("Nats-Rollup", "sub")];
        assert!(matches!(check_all(&scheduled, Some(OWN)), Err(Error::ForbiddenHeader { .. })));
    }
}
