//! Rules about ambient mode: ztunnel, waypoints, and the labels that enroll namespaces, services and pods.

pub mod enrolment;
pub mod l7_policies;
pub mod mixed_routes;
pub mod network_policies;
pub mod plain_text;
pub mod proxied;
pub mod services;
pub mod unread;
mod waypoint;
pub mod waypoint_kind;
