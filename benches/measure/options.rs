//! `--name value` of the command line, for shorter or longer runs. Values are numbers, or several with commas.

use std::collections::BTreeMap;

/// The arguments behind the name of the measurement.
pub fn words() -> impl Iterator<Item = String> {
    std::env::args().skip(1).filter(|word| word != "--bench").skip(1) // `--bench` is cargo's own
}

/// The variable that marks a measurement as part of `--quick`.
pub const QUICK: &str = "SAILHAND_BENCH_QUICK";

/// Whether this is a short run, whose figures are compared with those of short runs.
pub fn is_quick() -> bool {
    std::env::var_os(QUICK).is_some()
}

/// What was asked for, the defaults where nothing was.
pub struct Options(BTreeMap<&'static str, Vec<usize>>);

impl Options {
    /// Reads the command line; `known` has each option's name and default.
    pub fn read(known: &[(&'static str, &[usize])]) -> Self {
        let mut options: BTreeMap<_, _> = known.iter().map(|(name, default)| (*name, default.to_vec())).collect();
        let mut words = words();
        while let Some(word) = words.next() {
            let usage = || -> Vec<usize> { panic!("{word}: not known, or no numbers. Known: {}", shown(known)) };
            let numbers = words.next().and_then(|text| text.split(',').map(|one| one.parse().ok()).collect());
            match word.strip_prefix("--").and_then(|name| options.get_mut(name)) {
                Some(option) => *option = numbers.unwrap_or_else(usage),
                None => drop(usage()),
            }
        }
        Self(options)
    }

    /// All values of an option.
    pub fn list(&self, name: &str) -> &[usize] {
        &self.0[name]
    }

    /// The value of an option that has one.
    pub fn one(&self, name: &str) -> usize {
        self.0[name][0]
    }
}

fn shown(known: &[(&'static str, &[usize])]) -> String {
    let one = |(name, default): &(&str, &[usize])| {
        format!("--{name} {}", default.iter().map(usize::to_string).collect::<Vec<_>>().join(","))
    };
    known.iter().map(one).collect::<Vec<_>>().join(" ")
}
