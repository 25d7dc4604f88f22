//! What a run came to.

use std::collections::BTreeMap;
use std::fmt;

/// Numbers of one lane or of all.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    pub schedules: u64,
    pub commands: u64,
    /// Messages in the queue, copies and repeats counted.
    pub messages: u64,
    /// Deliveries of a message that had been delivered before.
    pub redeliveries: u64,
    /// Commands that were begun by more than one process.
    pub takeovers: u64,
    /// Copies of commands that had a result.
    pub writes: u64,
    pub dead_letters: u64,
    /// Attempts that stopped because their lease was gone.
    pub lost_leases: u64,
    /// Of these: a write that the fence refused.
    pub fenced: u64,
    /// Processes that ended without having been asked to.
    pub deaths: u64,
    pub faults: BTreeMap<String, u64>,
    pub steps: BTreeMap<String, u64>,
    pub outcomes: BTreeMap<String, u64>,
    pub violations: Vec<String>,
}

impl Counts {
    /// Adds another's numbers.
    pub fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.commands += other.commands;
        self.messages += other.messages;
        self.redeliveries += other.redeliveries;
        self.takeovers += other.takeovers;
        self.writes += other.writes;
        self.dead_letters += other.dead_letters;
        self.lost_leases += other.lost_leases;
        self.fenced += other.fenced;
        self.deaths += other.deaths;
        for (into, from) in
            [(&mut self.faults, other.faults), (&mut self.steps, other.steps), (&mut self.outcomes, other.outcomes)]
        {
            for (name, count) in from {
                *into.entry(name).or_default() += count;
            }
        }
        self.violations.extend(other.violations);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in [
            ("schedules", self.schedules),
            ("commands", self.commands),
            ("messages", self.messages),
            ("redeliveries", self.redeliveries),
            ("takeovers", self.takeovers),
            ("worker deaths", self.deaths),
            ("writes to the cluster", self.writes),
            ("leases lost", self.lost_leases),
            ("writes refused by the fence", self.fenced),
            ("dead letters", self.dead_letters),
        ] {
            writeln!(f, "{count:>8}  {name}")?;
        }
        for (title, counts) in
            [("results", &self.outcomes), ("faults", &self.faults), ("signals at steps", &self.steps)]
        {
            writeln!(f, "{title}:")?;
            for (name, count) in counts {
                writeln!(f, "{count:>8}  {name}")?;
            }
        }
        writeln!(f, "{:>8}  violations", self.violations.len())
    }
}
