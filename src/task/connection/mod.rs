//! `connection.*`: finds Prometheus-compatible stores and Grafanas of a target, gives them names, and checks whether a
//! store is useful for Istio.

mod apply;
mod check;
mod discover;
mod error;
mod facts;
mod forward;
mod known;
mod listing;
mod objects;
mod probe;
pub(super) mod store;
mod watch;

pub use apply::{Apply, ApplyParams, ConnectionReport, Remove, RemoveParams};
pub use check::{Check, CheckParams, CheckReport};
pub use discover::{Discover, DiscoverParams, DiscoverReport};
pub use error::ConnectionError;
pub use known::KnownConnection;
pub use store::Via;
pub use watch::{Watch, WatchParams, WatchReport};
