//! Rules about pods and workloads: labels, ports, and traffic that bypasses the sidecar.

pub mod bypass;
pub mod labels;
mod owned;
pub mod reserved_ports;
