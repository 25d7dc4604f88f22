//! Rules about `DestinationRule`s.

pub mod ca_certificate;
pub mod subsets;
