//! Live progress: one bar for each running command on a terminal, plain lines elsewhere. Everything that is printed while
//! bars are shown goes through [`Screen`], which removes them first.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::output::{self, BAD, CHANGED, Format, GOOD, QUIET, STRONG, Style, styled};
use super::report::{finding_line, short};
use super::{Error, conformance};
use crate::client::{Observation, Observed};
use crate::event::{CommandKey, EventKind, waited_text};
use crate::observe::instance::Instance;
use crate::progress::Step;
use crate::prose;

/// Ended commands that are remembered at most. Late events arrive only while past events are replayed.
const REMEMBERED: usize = 100_000;
/// Lines of a progress message.
const MESSAGE_LINES: usize = 3;
/// Width of a terminal of unknown width, columns.
const WIDTH: usize = 80;

/// The terminal below the bars. Clones write to the same terminal.
#[derive(Debug, Clone, Default)]
pub(super) struct Screen {
    bars: MultiProgress,
}

impl Screen {
    /// A note on standard error above the bars.
    pub(super) fn note(&self, text: impl Display) {
        self.bars.suspend(|| output::note(text));
    }

    /// A bar below the others for a lost connection.
    pub(super) fn outage(&self) -> Outage {
        let bar = self.bars.add(ProgressBar::new_spinner());
        let template = ProgressStyle::with_template("{spinner:.yellow} reconnecting to NATS {elapsed:.dim}");
        bar.set_style(template.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(120));
        Outage { bar, bars: self.bars.clone() }
    }

    /// A note after Ctrl-C. The terminal has echoed `^C` behind the last bar and may have wrapped, so the place of the bars
    /// is no longer known: they stay as they are, and no more are drawn.
    pub(super) fn interrupted(&self, text: impl Display) {
        self.bars.set_draw_target(ProgressDrawTarget::hidden());
        output::note(format_args!("\n{text}"));
    }

    /// A line of output above the bars.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(super) fn line(&self, text: impl Display) -> Result<(), Error> {
        self.bars.suspend(|| output::line(text))
    }
}

/// The bar of a lost connection.
pub(super) struct Outage {
    bar: ProgressBar,
    bars: MultiProgress,
}

impl Outage {
    /// Removes the bar. Returns how long it was shown.
    pub(super) fn end(self) -> Duration {
        self.bar.finish_and_clear();
        self.bars.remove(&self.bar);
        self.bar.elapsed()
    }
}

/// The bars of the running commands.
pub(super) struct Bars {
    screen: Screen,
    running: HashMap<CommandKey, Bar>,
    ended: HashSet<CommandKey>,
    terminal: bool,
    format: Format,
}

struct Bar {
    drawn: Option<ProgressBar>,
    name: String,
    /// When the first event was published.
    since: Option<OffsetDateTime>,
    /// The error of the last failed attempt.
    problem: String,
    /// The last step.
    step: Option<Step>,
}

impl Bars {
    /// Without bars. `format` is that of reports.
    pub(super) fn new(format: Format) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { screen: Screen::default(), running: HashMap::new(), ended: HashSet::new(), terminal, format }
    }

    /// Where notes can be written without overwriting the bars.
    pub(super) fn screen(&self) -> Screen {
        self.screen.clone()
    }

    /// The format of reports.
    pub(super) const fn format(&self) -> Format {
        self.format
    }

    /// Shows an event. When all commands are watched, a result may arrive before earlier events, because they are in
    /// another stream. Such events are ignored: they would leave a bar that never ends.
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
                self.begin(key, &name, time_of(observation));
                let waited = waited_text(&started.waited).map(|waited| format!(", {waited}")).unwrap_or_default();
                let by = styled(QUIET, format_args!("by {}{attempt} ({}){waited}", started.worker, short(key)));
                self.line(observation, &format!("{} {} {by}", styled(QUIET, "▶"), styled(STRONG, &name)))
            }
            Observed::Event(EventKind::Progress(step)) => self.progress(observation, step),
            Observed::Event(EventKind::Retrying(retrying)) => {
                let delay = humantime::format_duration(Duration::from_secs(retrying.delay_ms.div_ceil(1000)));
                let problem = retrying.problem.to_string();
                let bar = self.begin(key, short(key), time_of(observation));
                if let Some(bar) = &bar.drawn {
                    bar.set_message(format!("next attempt in {delay}"));
                }
                // The same error again and again would hide everything else.
                let is_same = std::mem::replace(&mut bar.problem, problem.clone()) == problem;
                let reason = if is_same { styled(QUIET, "the same error") } else { problem };
                let text = format!("attempt {} failed, next in {delay}: {reason}", retrying.attempt);
                self.line(observation, &format!("{} {text}", styled(CHANGED, "↻")))
            }
            // The result that follows has the reason; senders of invalid commands need no operator.
            Observed::Event(EventKind::DeadLettered(letter)) if letter.reason == "rejected" => Ok(()),
            Observed::Event(EventKind::DeadLettered(letter)) => {
                let text = format!("moved to the dead letters ({}); `sailhand dlq list` shows it", letter.reason);
                self.line(observation, &format!("{} {text}", styled(CHANGED, "▪")))
            }
            Observed::Event(EventKind::Found(found)) => found.findings.iter().try_for_each(|one| {
                let style = if one.severity == "error" { BAD } else { CHANGED };
                self.line(observation, &format!("{} {}", styled(style, "+"), finding_line(one)))
            }),
            Observed::Event(EventKind::Resolved(resolved)) => resolved
                .findings
                .iter()
                .try_for_each(|one| self.line(observation, &format!("{} {}", styled(GOOD, "-"), finding_line(one)))),
            Observed::Event(EventKind::ConformanceCase(event)) => {
                self.line(observation, &conformance::case_line(&event.case))
            }
            Observed::Event(EventKind::ConformanceSpec(event)) => {
                self.line(observation, &conformance::spec_line(&event.spec))
            }
            Observed::Event(EventKind::Discovered(discovered)) => {
                discovered.instances.iter().try_for_each(|one| self.line(observation, &server_line(GOOD, "+", one, "")))
            }
            Observed::Event(EventKind::Changed(changed)) => changed.changes.iter().try_for_each(|one| {
                self.line(
                    observation,
                    &server_line(CHANGED, "~", &one.instance, &format!(" ({})", one.fields.join(", "))),
                )
            }),
            Observed::Event(EventKind::Lost(lost)) => {
                lost.instances.iter().try_for_each(|one| self.line(observation, &server_line(BAD, "-", one, "")))
            }
            Observed::Event(EventKind::ConformanceSummary(_)) | Observed::Unknown | Observed::Result(_) => Ok(()),
        }
    }

    /// Removes the command's bar. Returns when its first event was published.
    pub(super) fn end(&mut self, key: &CommandKey) -> Option<OffsetDateTime> {
        if self.ended.len() >= REMEMBERED {
            self.ended.clear();
        }
        self.ended.insert(key.clone());
        let bar = self.running.remove(key)?;
        if let Some(bar) = bar.drawn {
            bar.finish_and_clear();
            self.screen.bars.remove(&bar);
        }
        bar.since
    }

    /// A line about an event above the bars, with the time of the event, wrapped at the width of the terminal.
    pub(super) fn line(&self, observation: &Observation, text: &str) -> Result<(), Error> {
        let time = time_of(observation).map(|time| {
            let (hour, minute, second) = time.to_hms();
            format!("{hour:02}:{minute:02}:{second:02}Z ")
        });
        let time = time.unwrap_or_default();
        let text = fold(text, time.chars().count(), 2);
        self.screen.line(format_args!("{}{text}", styled(QUIET, time)))
    }

    fn begin(&mut self, key: &CommandKey, name: &str, since: Option<OffsetDateTime>) -> &mut Bar {
        let (screen, terminal) = (&self.screen, self.terminal);
        let known = self.running.entry(key.clone()).or_insert_with(|| {
            // An animated bar of a file would be noise.
            let drawn = terminal.then(|| {
                let bar = screen.bars.add(ProgressBar::new_spinner());
                bar.set_style(style(false));
                bar.enable_steady_tick(Duration::from_millis(120));
                bar
            });
            Bar { drawn, name: name.to_owned(), since, problem: String::new(), step: None }
        });
        if known.name == short(key) {
            name.clone_into(&mut known.name);
        }
        if let Some(bar) = &known.drawn {
            bar.set_prefix(known.name.clone());
        }
        known
    }

    fn progress(&mut self, observation: &Observation, step: &Step) -> Result<(), Error> {
        let key = &observation.key;
        let count = if step.total == 0 { String::new() } else { format!(" {}/{}", step.done, step.total) };
        let Bar { drawn: bar, name, step: last, .. } = self.begin(key, short(key), time_of(observation));
        let last = last.replace(step.clone());
        let Some(bar) = bar else {
            let Some(message) = news(last.as_ref(), step) else { return Ok(()) };
            return self.line(observation, format!("  {}{count} {message}", step.phase).trim_end());
        };
        bar.set_prefix(output::shown(&format!("{name} · {}{count}", step.phase)));
        bar.set_style(style(step.total > 0));
        if step.total > 0 {
            bar.set_length(step.total);
        }
        bar.set_position(step.done);
        bar.set_message(output::shown(&clipped(&step.message)));
        Ok(())
    }
}

/// What a line about a step says that the line before it did not say. `None` when it would say nothing new.
fn news(last: Option<&Step>, step: &Step) -> Option<String> {
    if last == Some(step) {
        return None;
    }
    let said: HashSet<&str> = last.into_iter().flat_map(|last| last.message.split("; ")).collect();
    let parts: Vec<&str> = step.message.split("; ").filter(|part| !said.contains(part)).collect();
    // The count is in front of the message.
    let count = format!("{} of {} ", step.done, step.total);
    Some(parts.join("; ")).map(|message| message.strip_prefix(&count).map_or_else(|| message.clone(), str::to_owned))
}

fn time_of(observation: &Observation) -> Option<OffsetDateTime> {
    let time = observation.event.get("time")?.as_str()?;
    OffsetDateTime::parse(time, &Rfc3339).ok()
}

/// Text wrapped at the width of the terminal; color sequences take no columns.
fn fold(text: &str, used: usize, indent: usize) -> String {
    prose::fold(text, used, indent, output::width())
}

/// A message below a bar, in a few lines of the terminal's width.
fn clipped(message: &str) -> String {
    let width = output::width().unwrap_or(WIDTH).saturating_sub(1);
    let folded = prose::fold(message, 2, 2, Some(width));
    let mut lines = folded.lines();
    let mut shown: Vec<&str> = lines.by_ref().take(MESSAGE_LINES).collect();
    if lines.next().is_some() {
        shown.push("  …");
    }
    shown.join("\n")
}

/// The message has lines of its own below the bar. The templates are constants; if indicatif rejects one, its default
/// is used.
fn style(counted: bool) -> ProgressStyle {
    let bar = if counted && output::width().unwrap_or(WIDTH) >= 60 { " {bar:16.cyan/blue}" } else { "" };
    let template = format!("{{spinner:.cyan}} {{prefix:.bold}}{bar} {{elapsed:.dim}}\n  {{msg:.dim}}");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    style.progress_chars("━╸─")
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

    fn observed(key: &CommandKey, kind: EventKind) -> Observation {
        let event = json!({"time": "2026-01-31T12:00:05.5Z"});
        Observation { key: key.clone(), target: "dev".to_owned(), observed: Observed::Event(kind), event }
    }

    #[test]
    fn event_after_the_result_starts_no_bar() {
        let key = CommandKey::new("/test", "1");
        let step = Step { phase: "wait".to_owned(), message: String::new(), done: 1, total: 2 };
        let late = observed(&key, EventKind::Progress(step));
        let mut bars = Bars { terminal: true, ..Bars::new(Format::Text) };
        bars.show(&late).unwrap();
        assert_eq!(bars.running.len(), 1);
        assert_eq!(bars.end(&key).unwrap().to_hms(), (12, 0, 5));
        bars.show(&late).unwrap();
        assert!(bars.running.is_empty());
    }

    #[test]
    fn progress_line_omits_what_the_previous_line_has() {
        let step = |done, message: &str| Step { phase: "wait".to_owned(), message: message.to_owned(), done, total: 3 };
        let first = step(1, "Deployment shop/a: 0 of 1 created; Deployment shop/b: 0 of 1 created");
        let second = step(2, "Deployment shop/b: 0 of 1 created");
        assert_eq!(news(None, &first).as_deref(), Some(first.message.as_str()));
        assert_eq!(news(Some(&first), &first), None);
        assert_eq!(news(Some(&first), &second).as_deref(), Some(""), "only the count is new");
        let third = step(3, "all 3 objects are ready");
        assert_eq!(news(Some(&second), &third).as_deref(), Some("all 3 objects are ready"));
        assert_eq!(news(None, &step(1, "1 of 3 objects processed")).as_deref(), Some("objects processed"));
    }

    #[test]
    fn a_long_message_takes_a_few_lines() {
        let message = "waiting for pods ".repeat(60);
        let shown = clipped(&message);
        assert_eq!(shown.lines().count(), MESSAGE_LINES + 1, "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() < WIDTH), "{shown}");
    }
}
