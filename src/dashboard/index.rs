//! The runs that pages list: one small record for each command, derived from events and results. Bounded; the oldest
//! runs are left out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::client::{Change, CommandState, Observation, Observed};
use crate::event::{CommandKey, EventKind, Outcome};

pub use crate::client::CommandState as RunState;

/// Texts that equal records share; more are not looked up again.
const SHARED: usize = 10_000;
/// Characters of a text that a record stores.
const TEXT: usize = 160;

/// States of a run, in the order of the pages. Events do not show which commands are queued.
pub const STATES: &[RunState] = CommandState::ALL.split_at(1).1;

/// A command's key in 16 bytes, because the index has three copies of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(u128);

impl RunId {
    /// Of a command's key.
    #[must_use]
    pub fn of(key: &CommandKey) -> Self {
        // A key has 32 hex digits.
        Self(u128::from_str_radix(key.as_str(), 16).unwrap_or_default())
    }

    /// The command's key; `Some` for every id that was made from a key.
    #[must_use]
    pub fn command_key(self) -> Option<CommandKey> {
        self.to_string().parse().ok()
    }
}

impl FromStr for RunId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse::<CommandKey>().map(|key| Self::of(&key))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command's key.
    pub key: RunId,
    /// The target.
    pub target: Arc<str>,
    /// The verb; empty if no event names it.
    pub verb: Arc<str>,
    /// CloudEvents `source` of the command.
    pub source: Arc<str>,
    /// State of the newest event.
    pub state: RunState,
    /// Number of attempts that have started.
    pub attempts: u32,
    /// Start of the first attempt that is known, in milliseconds since 1970.
    pub started: i64,
    /// Time of the last change, in milliseconds since 1970.
    pub changed: i64,
    /// Finished and total units of the current phase; a total of 0 is unknown.
    pub progress: (u64, u64),
    /// The last step, or the error.
    pub message: Arc<str>,
    /// Version of the index at the last change.
    pub version: u64,
}

/// Position in the list: start time and key.
pub type Position = (i64, RunId);

/// Selects runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Only runs in this state.
    pub state: Option<RunState>,
    /// Only runs of this target.
    pub target: String,
    /// Only runs of this verb.
    pub verb: String,
    /// Only runs that have this text in target, verb, source or message, or whose key starts with it; in lower case.
    pub text: String,
}

impl Query {
    /// Whether the run is selected.
    #[must_use]
    pub fn matches(&self, run: &Run) -> bool {
        let equal = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        let contains = |text: &str| text.to_lowercase().contains(&self.text);
        self.state.is_none_or(|state| state == run.state)
            && equal(&self.target, &run.target)
            && equal(&self.verb, &run.verb)
            && (self.text.is_empty()
                || [&run.target, &run.verb, &run.source, &run.message].into_iter().any(|text| contains(text))
                || run.key.to_string().starts_with(&self.text))
    }
}

/// All runs, by key, start and version.
#[derive(Debug, Default)]
pub struct Index {
    /// Boxed, because a map that grows has both its old and its new table in memory.
    runs: HashMap<RunId, Box<Run>>,
    by_start: BTreeSet<Position>,
    by_version: BTreeMap<u64, RunId>,
    counts: HashMap<RunState, usize>,
    texts: HashSet<Arc<str>>,
    version: u64,
    last_event: u64,
    last_result: u64,
    most: usize,
}

impl Index {
    /// An empty index of at most `most` runs.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Number of changes so far.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Number of runs in a state.
    #[must_use]
    pub fn count(&self, state: RunState) -> usize {
        self.counts.get(&state).copied().unwrap_or_default()
    }

    /// One run.
    #[must_use]
    pub fn get(&self, key: RunId) -> Option<&Run> {
        self.runs.get(&key).map(Box::as_ref)
    }

    /// The newest selected runs that started before a position.
    pub fn page<'a>(&'a self, query: &'a Query, before: Option<&Position>) -> impl Iterator<Item = &'a Run> {
        let range = match before {
            Some(position) => self.by_start.range(..*position),
            None => self.by_start.range::<Position, _>(..),
        };
        range.rev().filter_map(|(_, key)| self.get(*key)).filter(|run| query.matches(run))
    }

    /// Runs that have changed since a version, by the version of their last change.
    pub fn since(&self, version: u64) -> impl Iterator<Item = &Run> {
        self.by_version.range(version + 1..).filter_map(|(_, key)| self.get(*key))
    }

    /// Adds a change; returns whether a run has changed. A repeated change has no effect.
    pub fn apply(&mut self, change: &Change) -> bool {
        let last = if change.is_result { &mut self.last_result } else { &mut self.last_event };
        if change.sequence <= *last {
            return false;
        }
        *last = change.sequence;
        let Some(observation) = &change.observation else { return false };
        let known = self.get(RunId::of(&observation.key));
        let Some(run) = next(known, observation) else { return false };
        self.put(run);
        true
    }

    fn put(&mut self, mut run: Run) {
        self.version += 1;
        run.version = self.version;
        for text in [&mut run.target, &mut run.verb, &mut run.source, &mut run.message] {
            *text = shared(&mut self.texts, text);
        }
        if let Some(old) = self.runs.get(&run.key) {
            self.by_start.remove(&(old.started, old.key));
            self.by_version.remove(&old.version);
            decrease(&mut self.counts, old.state);
        }
        self.by_start.insert((run.started, run.key));
        self.by_version.insert(run.version, run.key);
        *self.counts.entry(run.state).or_default() += 1;
        self.runs.insert(run.key, Box::new(run));
        while self.runs.len() > self.most {
            let Some((_, key)) = self.by_start.pop_first() else { break };
            if let Some(old) = self.runs.remove(&key) {
                self.by_version.remove(&old.version);
                decrease(&mut self.counts, old.state);
            }
        }
    }
}

fn shared(texts: &mut HashSet<Arc<str>>, text: &Arc<str>) -> Arc<str> {
    if let Some(known) = texts.get(text) {
        return known.clone();
    }
    if texts.len() >= SHARED {
        texts.clear();
    }
    texts.insert(text.clone());
    text.clone()
}

fn decrease(counts: &mut HashMap<RunState, usize>, state: RunState) {
    if let Some(count) = counts.get_mut(&state) {
        *count = count.saturating_sub(1);
    }
}

/// The run after an observation; `None` if the observation does not change it.
fn next(known: Option<&Run>, observation: &Observation) -> Option<Run> {
    let at = OffsetDateTime::parse(observation.attribute("time"), &Rfc3339).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let at = i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    if let Some(ended) = known.filter(|run| run.state.has_ended()) {
        // The stored results may be read before the events. The order of the list must not depend on that.
        return (at < ended.started).then(|| Run { started: at, ..ended.clone() });
    }
    let mut run = known.cloned().unwrap_or_else(|| Run {
        key: RunId::of(&observation.key),
        target: short(&observation.target),
        verb: Arc::default(),
        source: short(observation.attribute("commandsource")),
        state: RunState::Running,
        attempts: 0,
        started: at,
        changed: at,
        progress: (0, 0),
        message: Arc::default(),
        version: 0,
    });
    run.changed = at.max(run.changed);
    run.state = CommandState::after(&observation.observed).unwrap_or(run.state);
    match &observation.observed {
        Observed::Result(result) => {
            if let Some(verb) = observation.result_verb() {
                run.verb = short(verb);
            }
            run.attempts = result.attempts;
            let done = if result.changed { "changed the cluster" } else { "nothing changed" };
            run.message = short(match &result.error {
                Some(error) => &error.message,
                None if result.outcome == Outcome::Succeeded => done,
                None => "",
            });
        }
        Observed::Event(EventKind::Started(started)) => {
            run.verb = short(&started.verb);
            run.attempts = run.attempts.max(started.attempt);
            run.progress = (0, 0);
            run.message = Arc::default();
        }
        Observed::Event(EventKind::Progress(step)) => {
            run.progress = (step.done, step.total);
            run.message = short(&step.message);
        }
        Observed::Event(EventKind::Retrying(retrying)) => {
            run.message = short(&retrying.problem.message);
        }
        Observed::Event(EventKind::ConformanceCase(event)) => {
            run.progress = (u64::from(event.done), u64::from(event.total));
            run.message = short(&event.case.case_id);
        }
        Observed::Event(_) | Observed::Unknown => return None,
    }
    Some(run)
}

fn short(text: &str) -> Arc<str> {
    let end = text.char_indices().nth(TEXT).map_or(text.len(), |(end, _)| end);
    Arc::from(&text[..end])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::{ResultData, Started};

    fn change(sequence: u64, id: usize, observed: Observed) -> Change {
        let is_result = matches!(observed, Observed::Result(_));
        let time = format!("2026-01-31T12:00:00.{:03}Z", id % 1_000);
        let event = json!({ "time": time, "type": "io.meshery.istio.result.ping.v1", "commandsource": "/tests" });
        let key = CommandKey::new("/tests", &id.to_string());
        Change {
            is_result,
            sequence,
            observation: Some(Observation { key, target: "dev".to_owned(), event, observed }),
        }
    }

    fn started(attempt: u32) -> Observed {
        let (verb, worker, deadline) = ("ping".to_owned(), "w".to_owned(), String::new());
        Observed::Event(EventKind::Started(Started { verb, attempt, worker, deadline, waited: Vec::new() }))
    }

    fn succeeded() -> Observed {
        let result = json!({ "outcome": "succeeded", "changed": false, "attempts": 1, "fence": 0, "worker": "w",
            "ended": "2026-01-31T12:00:00Z" });
        Observed::Result(Box::new(serde_json::from_value::<ResultData>(result).unwrap()))
    }

    #[test]
    fn late_events_do_not_reopen_an_ended_run() {
        let mut index = Index::new(10);
        assert!(index.apply(&change(1, 1, succeeded())));
        assert!(!index.apply(&change(1, 1, started(1))));
        let run = index.get(RunId::of(&CommandKey::new("/tests", "1"))).unwrap();
        assert_eq!((run.state, &*run.verb), (RunState::Ended(Outcome::Succeeded), "ping"));
        assert_eq!(&*run.message, "nothing changed");
    }

    #[test]
    fn order_does_not_depend_on_which_stream_is_read_first() {
        let at = |mut change: Change, time: &str| {
            change.observation.as_mut().unwrap().event["time"] = json!(time);
            change
        };
        let one = at(change(1, 1, started(1)), "2026-01-31T12:00:01Z");
        let two = at(change(2, 2, started(1)), "2026-01-31T12:00:02Z");
        let result = at(change(1, 1, succeeded()), "2026-01-31T12:00:09Z");
        let order = |changes: [&Change; 3]| {
            let mut index = Index::new(10);
            for change in changes {
                index.apply(change);
            }
            index.page(&Query::default(), None).map(|run| (run.started, run.state)).collect::<Vec<_>>()
        };
        assert_eq!(order([&one, &two, &result]), order([&result, &one, &two]));
    }

    #[test]
    fn repeated_events_change_nothing() {
        let mut index = Index::new(10);
        assert!(index.apply(&change(7, 1, started(1))));
        assert!(!index.apply(&change(7, 1, started(1))));
        assert_eq!(index.version(), 1);
    }

    #[test]
    fn oldest_runs_are_left_out() {
        let mut index = Index::new(3);
        for id in 0..10 {
            index.apply(&change(id as u64 + 1, id, started(1)));
        }
        assert_eq!((index.runs.len(), index.count(RunState::Running)), (3, 3));
        let left: Vec<i64> = index.page(&Query::default(), None).map(|run| run.started % 1_000).collect();
        assert_eq!(left, [9, 8, 7]);
        assert_eq!(index.since(0).count(), 3);
    }

    #[test]
    fn pages_neither_repeat_nor_skip_runs() {
        let mut index = Index::new(1_000);
        for id in 0..120 {
            // Three runs share each start time.
            let mut one = change(id as u64 + 1, id, started(1));
            if let Some(observation) = &mut one.observation {
                observation.event["time"] = json!(format!("2026-01-31T12:00:{:02}Z", id / 3));
            }
            index.apply(&one);
        }
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page: Vec<Run> = index.page(&Query::default(), before.as_ref()).take(7).cloned().collect();
            let Some(last) = page.last() else { break };
            before = Some((last.started, last.key));
            seen.extend(page.into_iter().map(|run| run.key));
        }
        let distinct: BTreeSet<_> = seen.iter().collect();
        assert_eq!((seen.len(), distinct.len()), (index.runs.len(), index.runs.len()));
    }
}
