//! Rules about mutual TLS: what servers ask for (`PeerAuthentication`) and what clients do (`DestinationRule`).

pub mod client_and_server;
pub mod duplicates;
pub mod mode;
pub mod strict;
pub mod without_auto;
