//! Meshery's gRPC contract, generated from `proto/meshops.proto` by `just proto`.

#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]

include!("proto/meshes.rs");

/// The descriptor set of the contract, which reflection serves.
pub const DESCRIPTORS: &[u8] = include_bytes!("proto/meshes.bin");
