//! Compares the servers of a cluster with those of the previous discovery: discovered, changed, lost. Pure; the caller passes
//! the time.
//!
//! A consumer that keeps the servers of `discovered` and `changed` by fingerprint, and removes those of `lost`, has the
//! state. A server that is away for a moment, or does not answer once, causes no event.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::instance::{Instance, State};

/// A server is lost when lists of at least this span lack it, seconds.
pub const LOST_AFTER_S: u64 = 10;
/// Answers in a row that a connected server must miss to count as unreachable.
const DOWN_AFTER: u8 = 3;
/// Time from the first of them to the last, seconds: changes of objects may cause several requests within moments.
const DOWN_AFTER_S: u64 = 10;

/// A server, and the fields in which it differs from before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The server as it is now.
    pub instance: Instance,
    /// Names of its fields that differ, such as `state` and `version`.
    pub fields: Vec<String>,
}

/// Changes of one list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Difference {
    /// New servers.
    pub discovered: Vec<Instance>,
    /// Servers with other facts than before.
    pub changed: Vec<Change>,
    /// Servers that no longer exist.
    pub lost: Vec<Instance>,
}

impl Difference {
    /// Whether nothing changed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.discovered.is_empty() && self.changed.is_empty() && self.lost.is_empty()
    }
}

/// A known server.
#[derive(Debug, Clone)]
struct Known {
    instance: Instance,
    /// Time of the first list that lacked it, seconds.
    absent_since: Option<u64>,
    /// Answers missed in a row.
    missed: u8,
    /// Time of the first of them, seconds.
    missed_since: u64,
}

/// The servers that are known.
#[derive(Debug, Clone, Default)]
pub struct Tracker {
    known: BTreeMap<String, Known>,
}

impl Tracker {
    /// The servers, by fingerprint.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.known.values().map(|known| &known.instance)
    }

    /// Whether a server is missing that may be lost.
    #[must_use]
    pub fn has_absent(&self) -> bool {
        self.known.values().any(|known| known.absent_since.is_some())
    }

    /// Takes a list of all servers, at a time in seconds that never decreases.
    pub fn update(&mut self, now_s: u64, listed: Vec<Instance>) -> Difference {
        let mut difference = Difference::default();
        let mut present: BTreeMap<String, Instance> =
            listed.into_iter().map(|one| (one.fingerprint.clone(), one)).collect();
        self.known.retain(|fingerprint, known| {
            if let Some(instance) = present.remove(fingerprint) {
                known.absent_since = None;
                difference.changed.extend(known.changed_to(instance, now_s));
                return true;
            }
            let since = *known.absent_since.get_or_insert(now_s);
            let stays = now_s.saturating_sub(since) < LOST_AFTER_S;
            if !stays {
                difference.lost.push(known.instance.clone());
            }
            stays
        });
        for (fingerprint, instance) in present {
            difference.discovered.push(instance.clone());
            self.known.insert(fingerprint, Known { instance, absent_since: None, missed: 0, missed_since: 0 });
        }
        difference
    }
}

impl Known {
    /// The change, unless it may pass by itself.
    fn changed_to(&mut self, mut new: Instance, now_s: u64) -> Option<Change> {
        let was_up = self.instance.state == State::Connected;
        let is_down = matches!(new.state, State::Unreachable | State::Discovered);
        if was_up && is_down {
            if self.missed == 0 {
                self.missed_since = now_s;
            }
            self.missed = self.missed.saturating_add(1);
            if self.missed < DOWN_AFTER || now_s.saturating_sub(self.missed_since) < DOWN_AFTER_S {
                return None;
            }
        }
        self.missed = 0;
        if new.version.is_none() {
            new.version.clone_from(&self.instance.version); // It was not asked, or did not answer.
        }
        let fields = fields(&self.instance, &new);
        self.instance = new.clone();
        (!fields.is_empty()).then_some(Change { instance: new, fields })
    }
}

/// Names of the fields in which two differ. Evidence and score vary with what could be listed, and count as no change.
fn fields(old: &Instance, new: &Instance) -> Vec<String> {
    let differs = [
        ("flavor", old.flavor != new.flavor),
        ("version", old.version != new.version),
        ("service", old.service != new.service),
        ("addresses", old.addresses != new.addresses),
        ("used_by", old.used_by != new.used_by),
        ("state", old.state != new.state),
        ("reason", old.reason != new.reason && old.state == new.state && new.state != State::Unreachable),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::observe::instance::{Flavor, InstanceKind};

    fn server(name: &str, state: State) -> Instance {
        Instance {
            fingerprint: format!("prometheus/m/{name}:9090"),
            kind: InstanceKind::Prometheus,
            flavor: Flavor::Prometheus,
            version: None,
            service: None,
            url: None,
            addresses: Vec::new(),
            score: 0.9,
            evidence: Vec::new(),
            used_by: Vec::new(),
            state,
            reason: None,
        }
    }

    #[test]
    fn server_missing_for_a_moment_is_not_lost() {
        let mut tracker = Tracker::default();
        let up = || vec![server("a", State::Connected)];
        assert_eq!(tracker.update(0, up()).discovered.len(), 1);
        for now in [1, 2, 9] {
            assert!(tracker.update(now, Vec::new()).is_empty(), "at {now} s");
        }
        assert!(tracker.update(10, up()).is_empty(), "found again with the same fingerprint");
        assert!(tracker.update(20, Vec::new()).is_empty());
        assert_eq!(tracker.update(30, Vec::new()).lost.len(), 1);
        assert_eq!(tracker.update(31, up()).discovered.len(), 1);
    }

    #[test]
    fn server_is_down_after_three_missed_answers_and_up_after_one() {
        let mut tracker = Tracker::default();
        tracker.update(0, vec![server("a", State::Connected)]);
        let mut at = |now, state| tracker.update(now, vec![server("a", state)]).changed;
        assert!(at(10, State::Unreachable).is_empty() && at(20, State::Unreachable).is_empty());
        assert!(at(30, State::Connected).is_empty(), "one good answer starts again");
        assert!(at(40, State::Unreachable).is_empty() && at(41, State::Unreachable).is_empty());
        assert!(at(42, State::Unreachable).is_empty(), "three within moments may be one disturbance");
        assert_eq!(at(50, State::Unreachable)[0].fields, ["state"]);
        assert!(at(60, State::Unreachable).is_empty());
        assert_eq!(at(70, State::Connected)[0].fields, ["state"]);
        assert_eq!(at(80, State::Refused)[0].fields, ["state"], "a refused credential is an answer");
    }

    /// The events yield the state of the tracker.
    #[test]
    fn events_update_the_state() {
        for seed in 0..200 {
            let mut random = SmallRng::seed_from_u64(seed);
            let mut tracker = Tracker::default();
            let mut folded: BTreeMap<String, Instance> = BTreeMap::new();
            let mut now = 0;
            for _ in 0..100 {
                now += random.random_range(1..15);
                let states = [State::Connected, State::Unreachable, State::Refused, State::Discovered];
                let mut listed = Vec::new();
                for name in ["a", "b", "c", "d", "e"] {
                    if random.random::<f64>() < 0.7 {
                        let mut one = server(name, states[random.random_range(0..states.len())]);
                        one.version = (random.random::<f64>() < 0.5).then(|| "3.10.0".to_owned());
                        listed.push(one);
                    }
                }
                let difference = tracker.update(now, listed);
                for one in difference.lost {
                    assert!(folded.remove(&one.fingerprint).is_some(), "seed {seed}: lost and not known");
                }
                for one in difference.discovered {
                    assert!(folded.insert(one.fingerprint.clone(), one).is_none(), "seed {seed}: known already");
                }
                for one in difference.changed {
                    assert!(folded.insert(one.instance.fingerprint.clone(), one.instance).is_some(), "seed {seed}");
                }
                let known: Vec<_> = tracker.instances().map(|one| (&one.fingerprint, one.state)).collect();
                assert_eq!(folded.values().map(|one| (&one.fingerprint, one.state)).collect::<Vec<_>>(), known);
            }
        }
    }
}
