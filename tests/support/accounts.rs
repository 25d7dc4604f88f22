//! The example accounts of deploy/nats: a server with them, and the login of each user.

use std::fs;
use std::path::Path;

use sailhand::config;

use super::nats::{NatsServer, Options};

/// Text of the example's configuration.
pub fn configuration() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/nats/accounts.conf")).unwrap()
}

/// A server with the example accounts.
pub async fn server() -> NatsServer {
    NatsServer::start_with(Options { config: Some(configuration()), ..Options::default() }).await
}

/// `[nats]` for a user of the example. The password is a file in `dir`.
pub fn login(server: &NatsServer, dir: &Path, user: &str) -> config::Nats {
    let file = dir.join(format!("{user}.password"));
    fs::write(&file, password(user)).unwrap();
    let inbox = if user == "worker" { "sailhand" } else { user };
    config::Nats {
        url: vec![server.url()],
        user: Some(user.to_owned()),
        password_file: Some(file),
        inbox_prefix: format!("_INBOX_{inbox}"),
        ..config::Nats::default()
    }
}

/// The variables `SAILHAND_<USER>_PASSWORD` of a configuration, and their values.
pub fn passwords(configuration: &str) -> Vec<(String, String)> {
    let names = configuration.split('$').skip(1).filter_map(|rest| rest.split([' ', ',', '\n']).next());
    let user = |name: &str| name.strip_prefix("SAILHAND_")?.strip_suffix("_PASSWORD").map(str::to_lowercase);
    names.filter_map(|name| Some((name.to_owned(), password(&user(name)?)))).collect()
}

fn password(user: &str) -> String {
    format!("secret{user}")
}
