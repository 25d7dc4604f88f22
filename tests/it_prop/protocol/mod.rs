//! The delivery protocol as a model: stateright explores all interleavings of two workers, one command, and a bounded
//! number of faults and attacks. The invariants are those of ARCHITECTURE.md. Each rule is broken once, which must
//! violate its invariant: a model that cannot fail proves nothing.
//!
//! Time is abstract: a lease, an `ack_wait`, a schedule and a delay may end at any moment at which the protocol permits
//! it. A write that a worker has sent arrives before its lease ends (the margin of the guard); the compare-and-swap of
//! the fence may arrive at any time.

mod isolation;
mod model;
mod rules;
mod state;
mod steps;

use std::fmt::Write as _;

use isolation::Isolation;
use model::Protocol;
use rules::Rule;
use state::Budget;
use stateright::{Checker, HasDiscoveries, Model};

/// The configurations that are explored, each with its faults.
fn configurations() -> Vec<(&'static str, Protocol)> {
    let none = Budget::default();
    let with = |budget| Protocol { budget, ..Protocol::default() };
    vec![
        ("crash, suspension", with(Budget { crashes: 1, suspensions: 1, ..none })),
        ("copy, suspension, failure", with(Budget { copies: 1, suspensions: 1, failures: 1, ..none })),
        ("copy, crash, failure", with(Budget { copies: 1, crashes: 1, failures: 1, ..none })),
        ("four crashes", with(Budget { crashes: 4, ..none })),
        ("failures, crash, lost answer", with(Budget { failures: 3, crashes: 1, lost_answers: 1, ..none })),
        ("cancellation, crash, suspension", with(Budget { cancellations: 1, crashes: 1, suspensions: 1, ..none })),
        ("attacks, crash, failure", with(Budget { attacks: 2, crashes: 1, failures: 1, ..none })),
        ("moved message, attack", Protocol { is_migrated: true, ..with(Budget { attacks: 1, ..none }) }),
        ("termination, crash, failure", with(Budget { terminations: 1, crashes: 1, failures: 1, ..none })),
        ("foreign fence, crash, failure", with(Budget { foreign_fences: 1, crashes: 1, failures: 1, ..none })),
        ("shutdowns, crash, suspension", with(Budget { shutdowns: 2, crashes: 1, suspensions: 1, ..none })),
    ]
}

/// The first invariant that is violated, with the number of steps that lead there.
fn counterexample(protocol: Protocol) -> Option<(&'static str, usize)> {
    let checker = protocol.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = checker.discoveries().into_iter().find(|(name, _)| *name != "a command succeeds");
    found.map(|(name, path)| (name, path.into_actions().len()))
}

#[test]
fn protocol_keeps_its_invariants() {
    for (name, protocol) in configurations() {
        let checker = protocol.checker().threads(2).spawn_bfs().join();
        println!("{name}: {} states, depth {}", checker.unique_state_count(), checker.max_depth());
        checker.assert_properties();
    }
}

#[test]
fn each_broken_rule_has_a_counterexample() {
    let mut table = String::new();
    let mut unnoticed = Vec::new();
    for rule in Rule::ALL {
        let found = configurations().into_iter().find_map(|(name, protocol)| {
            let broken = Protocol { broken: Some(rule), ..protocol };
            counterexample(broken).filter(|(invariant, _)| *invariant == rule.invariant()).map(|found| (name, found))
        });
        match found {
            Some((name, (invariant, steps))) => {
                writeln!(table, "| {rule:?} | {invariant} | {name} | {steps} |").unwrap();
            }
            None => unnoticed.push(rule),
        }
    }
    println!("| broken rule | violated invariant | faults | steps |\n|---|---|---|---|\n{table}");
    assert!(unnoticed.is_empty(), "without a counterexample of their invariant: {unnoticed:?}");
}

#[test]
fn innocent_command_is_not_quarantined() {
    let checker = Isolation { broken: None }.checker().spawn_bfs().join();
    println!("isolation: {} states", checker.unique_state_count());
    checker.assert_properties();
    for rule in isolation::Rule::ALL {
        let checker = Isolation { broken: Some(rule) }.checker().spawn_bfs().join();
        let (innocent, deaths) = (checker.discovery(isolation::INNOCENT), checker.discovery(isolation::FEW_DEATHS));
        let steps =
            innocent.or(deaths).unwrap_or_else(|| panic!("{rule:?} has no counterexample")).into_actions().len();
        println!("| {rule:?} | {} | two commands | {steps} |", isolation::INNOCENT);
    }
}
