//! Texts that Istio's configuration is made of: names, addresses, durations, expressions. Must not know its kinds.

pub mod address;
pub mod duration;
pub mod name;
pub mod protocol;
pub mod re2;
pub mod url;
