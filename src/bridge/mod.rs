//! `sailhand bridge`.
pub mod error;
pub mod identity;
pub mod kubeconfig;
pub mod matching;
pub mod operation;
pub mod proto;
pub mod text;
