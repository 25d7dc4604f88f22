//! Rules about workloads that `istioctl analyze` has too.

pub mod application_uid;
pub mod multi_service;
