//! Rules about `ServiceEntry` objects.

pub mod addresses;
pub mod conflicting_protocol;
