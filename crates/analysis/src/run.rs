//! Calls the rules, in parallel, and puts what they find into one order.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use compact_str::CompactString;

use super::fingerprint;
use super::placeholder;
use super::rule::Check;
use super::{Finding, Findings, Kind, Rule, Snapshot, View};

/// Calls of one rule that are made together: enough that handing out costs nothing, few enough that threads finish
/// at about the same time and that the objects stay in the cache until the next rule.
const CHUNK: usize = 64;

/// Calls that one thread takes at once.
struct Unit {
    rule: &'static Rule,
    part: Part,
}

enum Part {
    Objects(Kind, fn(&View<'_>, &super::Resource, &mut Findings), std::ops::Range<usize>),
    Namespaces(fn(&View<'_>, &str, &mut Findings), Vec<CompactString>),
    Once(fn(&View<'_>, &mut Findings)),
}

/// All findings of the rules, sorted and without duplicates; the same for the same objects, whatever the threads do.
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

/// Sorts findings, tells each once and gives them their fingerprints. Those of one object are treated alike whether the
/// others are there or not.
pub(super) fn settle(found: &mut Vec<Finding>) {
    found.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
    found.dedup_by(|a, b| is_same(a, b));
    fingerprint::mark(found);
}

/// Two rules may find the same thing; it is told once.
fn is_same(a: &Finding, b: &Finding) -> bool {
    (a.code, a.level) == (b.code, b.level) && a.object == b.object && a.field == b.field && a.message == b.message
}

fn units(snapshot: &Snapshot, rules: &[&'static Rule]) -> Vec<Unit> {
    let mut units = Vec::new();
    for &rule in rules {
        match rule.check {
            Check::Each(kinds, check) => {
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
    // The calls that cannot be divided first, so that none of them is waited for at the end. Then what all rules do with
    // some objects, before the next ones: they are in the processor's cache then.
    units.sort_by_key(|unit| match &unit.part {
        Part::Once(_) => (0, 0, 0),
        Part::Namespaces(..) => (1, 0, 0),
        Part::Objects(kind, _, range) => (2, kind.index(), range.start),
    });
    units
}

impl Unit {
    fn run(&self, snapshot: &Snapshot, findings: &mut Findings) {
        let view = View::new(snapshot, self.rule.reads);
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
