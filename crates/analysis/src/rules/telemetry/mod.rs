//! Rules about `Telemetry`.

pub mod default_selector;
pub mod lightstep;
pub mod provider;
pub mod selector;
pub mod unknown_provider;
