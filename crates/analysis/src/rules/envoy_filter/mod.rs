//! Rules about `EnvoyFilter`.

pub mod patch;
