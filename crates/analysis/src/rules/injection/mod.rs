//! Rules about how pods get their proxies.

pub mod auto_image;
pub mod image;
pub mod namespace;
pub mod webhook;
