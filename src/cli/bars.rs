//! Live progress: one bar for each running command on a terminal, plain lines elsewhere.

use std::collections::{HashMap, HashSet};
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::output::{self, BAD, CHANGED, GOOD, QUIET, STRONG, Style, styled};
use super::report::{finding_line, short};
use super::{Error, conformance};
use crate::client::{Observation, Observed};
use crate::event::{CommandKey, EventKind};
use crate::observe::instance::Instance;
use crate::progress::Step;

/// Ends that are remembered at most; late events come while the past is replayed, not ever after.
const REMEMBERED: usize = 100_000;

/// The bars of the commands that run.
pub(super) struct Bars {
    all: MultiProgress,
    running: HashMap<CommandKey, Bar>,
    ended: HashSet<CommandKey>,
    terminal: bool,
}

struct Bar {
    bar: ProgressBar,
    name: String,
}

impl Bars {
    pub(super) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { all: MultiProgress::new(), running: HashMap::new(), ended: HashSet::new(), terminal }
    }

    /// Shows what is not the end. When all commands are watched, a result may overtake the events before it: they are
    /// in another stream. Such events would leave a bar that nothing ends.
    pub(super) fn show(&mut self, observation: &Observation) -> Result<(), Error> {
        let key = &observation.key;
        if self.ended.contains(key) {
            return Ok(());
        }
        match &observation.observed {
            Observed::Event(EventKind::Started(started)) => {
                let name = format!("{} on {}", started.verb, observation.target);
                let attempt =
                    if started.attempt == 1 { String::new() } else { format!(", attempt {}", started.attempt) };
                self.begin(key, &name);
                let by = styled(QUIET, format_args!("by {}{attempt} ({})", started.worker, short(key)));
                self.line(&format!("{} {} {by}", styled(QUIET, "▶"), styled(STRONG, &name)))
            }
            Observed::Event(EventKind::Progress(step)) => self.progress(key, step),
            Observed::Event(EventKind::Retrying(retrying)) => {
                let delay = humantime::format_duration(Duration::from_secs(retrying.delay_ms.div_ceil(1000)));
                let text = format!("attempt {} failed, again in {delay}: {}", retrying.attempt, retrying.problem);
                if let Some(bar) = self.running.get(key) {
                    bar.bar.set_message(format!("next attempt in {delay}"));
                }
                self.line(&format!("{} {}", styled(CHANGED, "↻"), text))
            }
            Observed::Event(EventKind::DeadLettered(letter)) => {
                let text = format!("moved to the dead letters ({}): {}", letter.reason, letter.problem);
                self.line(&format!("{} {text}", styled(BAD, "✉")))
            }
            Observed::Event(EventKind::Found(found)) => found.findings.iter().try_for_each(|one| {
                let style = if one.severity == "error" { BAD } else { CHANGED };
                self.line(&format!("{} {}", styled(style, "+"), finding_line(one)))
            }),
            Observed::Event(EventKind::Resolved(resolved)) => resolved
                .findings
                .iter()
                .try_for_each(|one| self.line(&format!("{} {}", styled(GOOD, "-"), finding_line(one)))),
            Observed::Event(EventKind::ConformanceCase(event)) => self.line(&conformance::case_line(&event.case)),
            Observed::Event(EventKind::ConformanceSpec(event)) => self.line(&conformance::spec_line(&event.spec)),
            Observed::Event(EventKind::Discovered(discovered)) => {
                discovered.instances.iter().try_for_each(|one| self.line(&server_line(GOOD, "+", one, "")))
            }
            Observed::Event(EventKind::Changed(changed)) => changed.changes.iter().try_for_each(|one| {
                self.line(&server_line(CHANGED, "~", &one.instance, &format!(" ({})", one.fields.join(", "))))
            }),
            Observed::Event(EventKind::Lost(lost)) => {
                lost.instances.iter().try_for_each(|one| self.line(&server_line(BAD, "-", one, "")))
            }
            Observed::Event(EventKind::ConformanceSummary(_)) | Observed::Unknown | Observed::Result(_) => Ok(()),
        }
    }

    /// The command's bar goes.
    pub(super) fn end(&mut self, key: &CommandKey) {
        if self.ended.len() >= REMEMBERED {
            self.ended.clear();
        }
        self.ended.insert(key.clone());
        if let Some(bar) = self.running.remove(key) {
            bar.bar.finish_and_clear();
            self.all.remove(&bar.bar);
        }
    }

    /// A line above the bars.
    pub(super) fn line(&self, text: &str) -> Result<(), Error> {
        self.all.suspend(|| output::line(text))
    }

    fn begin(&mut self, key: &CommandKey, name: &str) {
        if let Some(bar) = self.running.get_mut(key) {
            name.clone_into(&mut bar.name);
            return;
        }
        let bar = self.all.add(ProgressBar::new_spinner());
        bar.set_prefix(name.to_owned());
        bar.set_style(style(false));
        if self.terminal {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        self.running.insert(key.clone(), Bar { bar, name: name.to_owned() });
    }

    fn progress(&mut self, key: &CommandKey, step: &Step) -> Result<(), Error> {
        if !self.terminal {
            let count = if step.total == 0 { String::new() } else { format!(" {}/{}", step.done, step.total) };
            return self.line(&format!("  {}{count} {}", step.phase, step.message));
        }
        if !self.running.contains_key(key) {
            self.begin(key, short(key));
        }
        if let Some(Bar { bar, name }) = self.running.get(key) {
            bar.set_prefix(output::shown(&format!("{name} · {}", step.phase)));
            bar.set_style(style(step.total > 0));
            if step.total > 0 {
                bar.set_length(step.total);
            }
            bar.set_position(step.done);
            bar.set_message(output::shown(&step.message));
        }
        Ok(())
    }
}

/// What goes on needs the width of a line of its own. The templates are constants; should indicatif refuse one, its own
/// style does.
fn style(counted: bool) -> ProgressStyle {
    if counted {
        let bar = "{spinner:.cyan} {prefix:.bold} {bar:24.cyan/blue} {pos}/{len} {elapsed:.dim}\n  {wide_msg:.dim}";
        ProgressStyle::with_template(bar).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
    } else {
        let spinner = "{spinner:.cyan} {prefix:.bold} {elapsed:.dim} {wide_msg:.dim}";
        ProgressStyle::with_template(spinner).unwrap_or_else(|_| ProgressStyle::default_spinner())
    }
}

/// A server of a watch of connections.
fn server_line(style: Style, sign: &str, one: &Instance, fields: &str) -> String {
    let state = serde_json::to_value(one.state).unwrap_or_default();
    format!("{} {}: {}{fields}", styled(style, sign), one.fingerprint, state.as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_after_the_end_begins_no_bar() {
        let key = CommandKey::new("/test", "1");
        let step = Step { phase: "wait".to_owned(), message: String::new(), done: 1, total: 2 };
        let late = Observation {
            key: key.clone(),
            target: "dev".to_owned(),
            observed: Observed::Event(EventKind::Progress(step)),
            event: json!({}),
        };
        let mut bars = Bars { terminal: true, ..Bars::new() };
        bars.show(&late).unwrap();
        assert_eq!(bars.running.len(), 1);
        bars.end(&key);
        bars.show(&late).unwrap();
        assert!(bars.running.is_empty());
    }
}
