//! Rules about references to objects that do not exist: namespaces, service accounts, hosts, labels, ports.

pub mod export_to;
pub mod policy_hosts;
pub mod principals;
pub mod selectors;
pub mod sidecar_hosts;
pub mod target_ports;
pub mod workload_groups;
