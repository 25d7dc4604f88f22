//! Rules about Istio's `Gateway`.

pub mod certificate;
pub mod conflict;
pub mod ports;
pub mod secret;
