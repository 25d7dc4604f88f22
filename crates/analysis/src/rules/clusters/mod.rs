//! Rules about several clusters of one mesh: what has to be the same in all of them, and what in none.

pub mod identity;
pub mod namespaces;
pub mod networks;
pub mod same_configuration;
pub mod service;
