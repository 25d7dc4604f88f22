//! Rules about `Telemetry`.

pub mod default_selector;
