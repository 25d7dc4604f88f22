//! Rules about the protocol of a port.

pub mod double_tls;
pub mod external_name;
pub mod https_port;
pub mod plain_to_tls;
mod protocol;
pub mod server_first;
