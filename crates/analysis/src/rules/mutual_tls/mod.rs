//! Rules about mutual TLS: servers (`PeerAuthentication`) and clients (`DestinationRule`).

pub mod client_and_server;
pub mod duplicates;
pub mod mode;
pub mod strict;
pub mod without_auto;
