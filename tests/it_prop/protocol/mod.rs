//! The delivery protocol as a model: the explorer visits all interleavings of two workers, one command, and a bounded
//! number of faults and attacks. The invariants are those of ARCHITECTURE.md. Each rule is broken once, which must
//! violate its invariant: a model that cannot fail proves nothing.
//!
//! Time is abstract: a lease, an `ack_wait`, a schedule and a delay may end at any moment at which the protocol permits
//! it. A write that a worker has sent arrives before its lease ends (the margin of the guard); the compare-and-swap of
//! the fence may arrive at any time.

mod explorer;
mod isolation;
mod model;
mod rules;
mod state;
mod steps;

use std::fmt::Write as _;

use explorer::explore;
use isolation::Isolation;
use model::Protocol;
use rules::Rule;
use state::Budget;

/// The configurations that are explored, each with its faults.
fn configurations() -> Vec<(&'static str, Protocol)> {
    let none = Budget { schedules: 1, ..Budget::default() };
    let without_schedules = Budget::default();
    let with = |budget| Protocol { budget, ..Protocol::default() };
    vec![
        (rules::CRASH_SUSPENSION, with(Budget { crashes: 1, suspensions: 1, ..none })),
        (rules::COPY_SUSPENSION_FAILURE, with(Budget { copies: 1, suspensions: 1, failures: 1, ..without_schedules })),
        (rules::COPY_CRASH_FAILURE, with(Budget { copies: 1, crashes: 1, failures: 1, ..without_schedules })),
        (rules::COPY_CANCELLATION, with(Budget { copies: 1, cancellations: 1, crashes: 1, ..none })),
        (rules::FOUR_CRASHES, with(Budget { crashes: 4, ..none })),
        (rules::FAILURES, with(Budget { failures: 3, crashes: 1, lost_answers: 1, ..none })),
        (rules::CANCELLATION, with(Budget { cancellations: 1, crashes: 1, suspensions: 1, ..none })),
        (rules::ATTACKS, with(Budget { attacks: 2, crashes: 1, failures: 1, ..without_schedules })),
        (rules::REUSED_ID, with(Budget { attacks: 1, failures: 1, schedules: 2, ..without_schedules })),
        (rules::MOVED_MESSAGE, Protocol { is_migrated: true, ..with(Budget { attacks: 1, ..none }) }),
        (rules::TERMINATION, with(Budget { terminations: 1, crashes: 1, failures: 1, ..none })),
        (rules::FOREIGN_FENCE, with(Budget { foreign_fences: 1, crashes: 1, failures: 1, ..none })),
        (rules::SHUTDOWNS, with(Budget { shutdowns: 2, crashes: 1, suspensions: 1, ..without_schedules })),
    ]
}

#[test]
fn protocol_keeps_its_invariants() {
    for (faults, protocol) in configurations() {
        let explored = explore(&protocol, None);
        println!("{faults}: {} states", explored.states);
        explored.assert_clean();
    }
}

/// The length of the shortest counterexample.
fn counterexample(rule: Rule) -> Option<usize> {
    let (_, protocol) = configurations().into_iter().find(|(faults, _)| *faults == rule.faults())?;
    let broken = Protocol { broken: Some(rule), ..protocol };
    if rule.invariant() == rules::ENDS {
        return explore(&broken, None).no_end.map(|path| path.len());
    }
    explore(&broken, Some(rule.invariant())).violation(rule.invariant())
}

#[test]
fn each_broken_rule_has_a_counterexample() {
    let mut table = String::new();
    let mut unnoticed = Vec::new();
    for rule in Rule::ALL {
        match counterexample(rule) {
            Some(steps) => {
                writeln!(table, "| {rule:?} | {} | {} | {steps} |", rule.invariant(), rule.faults()).unwrap();
            }
            None => unnoticed.push(rule),
        }
    }
    println!("| broken rule | violated invariant | faults | steps |\n|---|---|---|---|\n{table}");
    assert!(unnoticed.is_empty(), "without a counterexample of their invariant: {unnoticed:?}");
}

#[test]
fn innocent_command_is_not_quarantined() {
    let explored = explore(&Isolation { broken: None }, None);
    println!("isolation: {} states", explored.states);
    explored.assert_clean();
    for rule in isolation::Rule::ALL {
        let explored = explore(&Isolation { broken: Some(rule) }, None);
        let (name, path) = explored.violations.first().unwrap_or_else(|| panic!("{rule:?} has no counterexample"));
        println!("| {rule:?} | {name} | two commands | {} |", path.len());
    }
}
