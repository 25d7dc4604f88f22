//! Runs the rules in parallel and merges their findings in a deterministic order.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use compact_str::CompactString;

use super::fingerprint;
use super::placeholder;
use super::rule::Check;
use super::{Finding, Findings, Kind, Rule, Snapshot, View};

/// Calls of a rule in one task: enough to make scheduling cheap, few enough that threads finish at about the same time
/// and the objects stay in the CPU cache.
const CHUNK: usize = 64;

/// Calls that one thread runs in sequence.
struct Unit {
    rule: &'static Rule,
    part: Part,
}

enum Part {
    Objects(Kind, fn(&View<'_>, &super::Resource, &mut Findings), std::ops::Range<usize>),
    Namespaces(fn(&View<'_>, &str, &mut Findings), Vec<CompactString>),
    Once(fn(&View<'_>, &mut Findings)),
}

/// All findings of the rules, sorted and without duplicates. The result depends only on the objects.
#[must_use]
pub fn run(snapshot: &Snapshot, rules: &[&'static Rule], threads: NonZero<usize>) -> Vec<Finding> {
    run_until(snapshot, rules, threads, &AtomicBool::new(false))
}

/// The same; ends early, with a part of the findings, once `cancelled` is `true`.
#[must_use]
pub fn run_until(
    snapshot: &Snapshot,
    rules: &[&'static Rule],
    threads: NonZero<usize>,
    cancelled: &AtomicBool,
) -> Vec<Finding> {
    let units = units(snapshot, rules);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut findings = Findings::default();
        while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed))
            && !cancelled.load(Ordering::Relaxed)
        {
            unit.run(snapshot, &mut findings);
        }
        findings.into_vec()
    };
    let threads = threads.get().min(units.len());
    let mut found = if threads < 2 {
        work()
    } else {
        thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut found = work();
            for other in others {
                match other.join() {
                    Ok(more) => found.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            found
        })
    };
    placeholder::drop_findings(snapshot, &mut found);
    settle(&mut found);
    found
}

/// Sorts findings, removes duplicates and sets fingerprints. Findings of one object do not depend on those of others.
pub(super) fn settle(found: &mut Vec<Finding>) {
    found.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
    found.dedup_by(|a, b| is_same(a, b));
    fingerprint::mark(found);
}

/// Two rules may report the same finding.
fn is_same(a: &Finding, b: &Finding) -> bool {
    (a.code, a.level) == (b.code, b.level) && a.object == b.object && a.field == b.field && a.message == b.message
}

fn units(snapshot: &Snapshot, rules: &[&'static Rule]) -> Vec<Unit> {
    let mut units = Vec::new();
    for &rule in rules {
        match rule.check {
            Check::Each(kinds, check) | Check::Text(kinds, check) => {
                for kind in kinds {
                    let length = snapshot.of(*kind).len();
                    for start in (0..length).step_by(CHUNK) {
                        let range = start..length.min(start + CHUNK);
                        units.push(Unit { rule, part: Part::Objects(*kind, check, range) });
                    }
                }
            }
            Check::Namespaces(kinds, check) => {
                let namespaces: BTreeSet<CompactString> = snapshot.namespaces_with(kinds);
                let namespaces: Vec<CompactString> = namespaces.into_iter().collect();
                for chunk in namespaces.chunks(CHUNK) {
                    units.push(Unit { rule, part: Part::Namespaces(check, chunk.to_vec()) });
                }
            }
            Check::Once(check) => units.push(Unit { rule, part: Part::Once(check) }),
        }
    }
    // Calls for the whole snapshot start first, because they take longest. Then all rules run on one group of objects
    // before the next, while these are in the CPU cache.
    units.sort_by_key(|unit| match &unit.part {
        Part::Once(_) => (0, 0, 0),
        Part::Namespaces(..) => (1, 0, 0),
        Part::Objects(kind, _, range) => (2, kind.index(), range.start),
    });
    units
}

impl Unit {
    fn run(&self, snapshot: &Snapshot, findings: &mut Findings) {
        let view = View::new(snapshot, self.rule.inputs);
        match &self.part {
            Part::Objects(kind, check, range) => {
                for resource in &snapshot.of(*kind)[range.clone()] {
                    check(&view, resource, findings);
                }
            }
            Part::Namespaces(check, namespaces) => {
                for namespace in namespaces {
                    check(&view, namespace, findings);
                }
            }
            Part::Once(check) => check(&view, findings),
        }
    }
}
