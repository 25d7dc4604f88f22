//! Rules about `DestinationRule`s.

pub mod ca_certificate;
