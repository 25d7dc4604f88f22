//! Parsers for values in Istio configuration: names, addresses, durations, regular expressions. Independent of kinds.

pub mod address;
pub mod duration;
pub mod name;
pub mod protocol;
pub mod re2;
pub mod url;
