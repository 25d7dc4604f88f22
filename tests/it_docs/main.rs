//! What the repository says about itself: layers, schemas, pages of errors, committed corpora.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod boundaries;
mod compatibility;
mod dependencies;
mod docs_errors;
mod fuzz_corpus;
mod proto_drift;
mod schema_drift;
mod threat_model;
mod wire_names;
