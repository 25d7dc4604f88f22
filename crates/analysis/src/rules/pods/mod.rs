//! Rules about pods and what makes them: labels, ports, and what goes past their proxy.

pub mod bypass;
pub mod labels;
mod owned;
pub mod reserved_ports;
