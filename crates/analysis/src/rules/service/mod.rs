//! Rules about Services.

pub mod port_name;
