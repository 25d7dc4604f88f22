//! Conformance suites for a mesh: the Service Mesh Interface (SMI) and Gateway API for mesh (GAMMA). A run applies the
//! objects of each case, sends requests between workloads and checks the answers.

pub mod contract;
pub mod environment;
mod error;
pub mod exec;
pub mod kubernetes;
pub mod model;
pub mod official;
pub mod port_forward;
pub mod report;
pub mod runner;
pub mod simulated;
pub mod statistics;
pub mod suite;
pub mod traffic;
pub mod verdict;

pub use error::Error;
