//! Rules about `Sidecar`.

pub mod selector;
