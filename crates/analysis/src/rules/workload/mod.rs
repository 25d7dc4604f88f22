//! Rules about pods and what makes them.

pub mod application_uid;
pub mod multi_service;
