//! Checks rules of values that their types cannot express, and relations between values.

use std::time::Duration;

use super::{Bridge, BridgeClient, Bus, Charts, Config, Connection, Dashboard, Nats, Worker};
use crate::event;
use crate::http::Credentials;
use crate::observe::promql::is_label_name;

/// The key that is wrong, and why.
type Wrong = (String, String);

/// A lease is renewed each third of its time to live, and a renewal may take some seconds. Fault tests need leases that
/// expire soon.
const MIN_LEASE_TTL: Duration = Duration::from_secs(if cfg!(feature = "failpoints") { 2 } else { 10 });
/// A heartbeat is sent each third of this time. With a shorter time, one late packet redelivers a running command.
const MIN_ACK_WAIT: Duration = Duration::from_secs(if cfg!(feature = "failpoints") { 2 } else { 3 });
/// A worker uses up to nine times as many of the consumer's `max_ack_pending`, which is 20,000: for running commands and
/// those with a delayed NAK (`worker/requeue.rs`).
const MAX_SLOTS: usize = 2_000;

pub(super) fn validate(config: &Config) -> Result<(), Wrong> {
    nats(&config.nats)?;
    bus(&config.bus)?;
    worker(&config.worker)?;
    for id in config.targets.keys() {
        let label = "a target's id must be a DNS label: 1 to 63 of a-z, 0-9 and -, not - at an end";
        check(id.parse::<event::Target>().is_ok(), &format!("targets.{id}"), label)?;
    }
    for (id, target) in &config.targets {
        let key = |name: &str| format!("targets.{id}.{name}");
        let label = target.inventory_namespace.parse::<event::Target>().is_ok();
        check(label, &key("inventory_namespace"), "must be the name of a namespace")?;
        check(!target.request_timeout.is_zero(), &key("request_timeout"), "must be longer than 0s")?;
        if let Some((list, entry)) = super::allow::malformed(target) {
            return Err((key(list), format!("{entry:?} is not valid: {}", super::allow::form(list))));
        }
        for (name, connection) in &target.connections {
            self::connection(&key(&format!("connections.{name}")), name, connection)?;
        }
    }
    charts(&config.charts)?;
    bridge(&config.bridge)?;
    dashboard(&config.dashboard)?;
    super::gateway::validate(&config.gateway)?;
    let endpoint = config.telemetry.otlp_endpoint.as_deref().unwrap_or_default();
    check(!endpoint.contains('@'), "telemetry.otlp_endpoint", "must not hold credentials")
}

fn nats(nats: &Nats) -> Result<(), Wrong> {
    check(!nats.url.is_empty(), "nats.url", "at least one address is needed")?;
    for url in &nats.url {
        check(!url.is_empty(), "nats.url", "an address is empty")?;
        // Not repeated: it is a secret.
        check(!url.contains('@'), "nats.url", "must not hold credentials; name a file of them instead")?;
    }
    let kinds = [
        ("nats.user", nats.user.is_some()),
        ("nats.token_file", nats.token_file.is_some()),
        ("nats.nkey_file", nats.nkey_file.is_some()),
        ("nats.creds_file", nats.creds_file.is_some()),
    ];
    let given: Vec<&str> = kinds.iter().filter(|(_, given)| *given).map(|(key, _)| *key).collect();
    if let [first, second, ..] = given[..] {
        return Err((second.to_owned(), format!("excludes {first}: give one kind of credentials")));
    }
    check(nats.user.is_none() || nats.password_file.is_some(), "nats.user", "needs nats.password_file")?;
    check(nats.password_file.is_none() || nats.user.is_some(), "nats.password_file", "needs nats.user")?;
    check(nats.tls_cert.is_none() || nats.tls_key.is_some(), "nats.tls_cert", "needs nats.tls_key")?;
    check(nats.tls_key.is_none() || nats.tls_cert.is_some(), "nats.tls_key", "needs nats.tls_cert")?;
    let inbox = &nats.inbox_prefix;
    let tokens = inbox
        .split('.')
        .all(|token| !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
    check(tokens, "nats.inbox_prefix", "must be subject tokens of letters, digits, _ and -")
}

fn connection(key: &str, name: &str, connection: &Connection) -> Result<(), Wrong> {
    let label = name.len() <= 30 && name.parse::<event::Target>().is_ok();
    check(label, key, "a connection's name must be 1 to 30 of a-z, 0-9 and -, not - at an end")?;
    let sub = |field: &str| format!("{key}.{field}");
    let url = &connection.url;
    if connection.service.is_some() {
        check(url.is_empty(), &sub("url"), "excludes service: give one address")?;
        return scope_and_credentials(&sub, connection);
    }
    let http = url.starts_with("http://") || url.starts_with("https://");
    check(http, &sub("url"), "must begin with http:// or https://")?;
    // Not repeated: it is a secret.
    check(!url.contains('@'), &sub("url"), "must not hold credentials; name a file of them instead")?;
    check(!url.contains(['?', '#']), &sub("url"), "must not have a query or a fragment")?;
    scope_and_credentials(&sub, connection)
}

fn scope_and_credentials(sub: &dyn Fn(&str) -> String, connection: &Connection) -> Result<(), Wrong> {
    let labels = connection.scope.keys().all(|name| is_label_name(name));
    check(labels, &sub("scope"), "its keys must be names of Prometheus labels")?;
    credentials(&sub("credentials"), &connection.credentials)
}

/// Checks the credentials of a connection or a sink.
pub(super) fn credentials(key: &str, credentials: &Credentials) -> Result<(), Wrong> {
    let (user_key, cert_key) = (format!("{key}.user"), format!("{key}.cert_file"));
    let twice = credentials.bearer_token_file.is_some() && credentials.user.is_some();
    check(!twice, &user_key, "excludes bearer_token_file: give one kind of credentials")?;
    let user = credentials.user.is_some() == credentials.password_file.is_some();
    check(user, &user_key, "needs password_file, and password_file needs user")?;
    let certificate = credentials.cert_file.is_some() == credentials.key_file.is_some();
    check(certificate, &cert_key, "needs key_file, and key_file needs cert_file")
}

/// Maximum number of names in `bus.parameter_stores`.
const MAX_STORES: usize = 64;

fn bus(bus: &Bus) -> Result<(), Wrong> {
    let prefix = &bus.prefix;
    let token = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    check(token, "bus.prefix", "must be one subject token of a-z, 0-9 and -")?;
    check(matches!(bus.replicas, 1 | 3 | 5), "bus.replicas", "must be 1, 3 or 5")?;
    check(bus.max_bytes > 0, "bus.max_bytes", "must be more than 0")?;
    check(bus.max_result_bytes > 0, "bus.max_result_bytes", "must be more than 0")?;
    let is_name = |name: &String| {
        (1..=32).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let stores = bus.parameter_stores.len() <= MAX_STORES && bus.parameter_stores.iter().all(is_name);
    let rule = format!("must be at most {MAX_STORES} names of 1 to 32 characters of a-z, 0-9 and -");
    check(stores, "bus.parameter_stores", &rule)?;
    check(bus.lease_ttl >= MIN_LEASE_TTL, "bus.lease_ttl", "must be at least 10s: it is renewed every third of it")?;
    check(bus.ack_wait >= MIN_ACK_WAIT, "bus.ack_wait", "must be at least 3s: heartbeats are sent every third of it")
}

fn worker(worker: &Worker) -> Result<(), Wrong> {
    let slots = (1..=MAX_SLOTS).contains(&worker.slots);
    check(slots, "worker.slots", &format!("must be 1 to {MAX_SLOTS}"))?;
    let wait = (Duration::from_millis(100)..=Duration::from_mins(1)).contains(&worker.pull_wait);
    check(wait, "worker.pull_wait", "must be 100ms to 1m")?;
    let id = worker.id.len() <= 128 && !worker.id.chars().any(char::is_control);
    check(id, "worker.id", "must have at most 128 characters, none of them control characters")
}

fn charts(charts: &Charts) -> Result<(), Wrong> {
    check(!charts.source.is_empty(), "charts.source", "must be a folder or an address")?;
    // Not repeated: it may be a secret.
    check(!charts.source.contains('@'), "charts.source", "must not hold credentials")?;
    check(!charts.timeout.is_zero(), "charts.timeout", "must be longer than 0s")?;
    for (chart, digest) in &charts.digests {
        let hash = digest.strip_prefix("sha256:").unwrap_or_default();
        check(is_sha256(hash), &format!("charts.digests.{chart}"), "must be sha256: and 64 lower-case hex digits")?;
    }
    Ok(())
}

fn bridge_client(bridge: &Bridge, name: &str, client: &BridgeClient) -> Result<(), Wrong> {
    let check = |holds, key: &str, reason: &str| check(holds, &format!("bridge.clients.{name}{key}"), reason);
    check(name.parse::<event::Target>().is_ok(), "", "the name must be a DNS label")?;
    check(bridge.tls.is_some(), "", "needs bridge.tls")?;
    let same = bridge.clients.values().filter(|other| other.certificate == client.certificate).count();
    let reason = "must be the name of a certificate, and not that of another client";
    check(same == 1 && !client.certificate.is_empty(), ".certificate", reason)?;
    let allowed = |entry: &String| crate::bridge::operation::allows(bridge, entry);
    let reason = "must be operations that bridge.operations allows, at least one";
    check(!client.operations.is_empty() && client.operations.iter().all(allowed), ".operations", reason)?;
    let known = client.targets.iter().all(|id| bridge.targets.contains_key(id));
    check(known && !client.targets.is_empty(), ".targets", "must be ids of bridge.targets, at least one")
}

fn bridge(bridge: &Bridge) -> Result<(), Wrong> {
    check(bridge.name.parse::<event::Target>().is_ok(), "bridge.name", "must be a DNS label")?;
    let operations = crate::bridge::operation::unknown_entry(&bridge.operations);
    let reason = || format!("{:?} is not an operation", operations.unwrap_or_default());
    check(operations.is_none(), "bridge.operations", &reason())?;
    for (id, target) in &bridge.targets {
        let key = |name: &str| format!("bridge.targets.{id}.{name}");
        check(id.parse::<event::Target>().is_ok(), &format!("bridge.targets.{id}"), "must be a DNS label")?;
        let servers = target.server.iter().all(|server| crate::bridge::kubeconfig::Server::parse(server).is_some());
        check(servers, &key("server"), "must be http:// or https:// addresses")?;
        check(
            target.ca_sha256.iter().all(|digest| is_sha256(digest)),
            &key("ca_sha256"),
            "must be 64 lower-case hex digits",
        )?;
    }
    for (name, client) in &bridge.clients {
        bridge_client(bridge, name, client)?;
    }
    let default = bridge.default_target.as_ref().is_none_or(|id| bridge.targets.contains_key(id));
    check(default, "bridge.default_target", "must be one of bridge.targets")?;
    let versions = bridge.versions.iter().all(|version| version.parse::<crate::mesh::Version>().is_ok());
    check(versions && !bridge.versions.is_empty(), "bridge.versions", "must be versions of Istio such as 1.30.3")?;
    check((1..=10_000).contains(&bridge.max_streams), "bridge.max_streams", "must be 1 to 10,000")?;
    check((1..=10_000).contains(&bridge.max_calls), "bridge.max_calls", "must be 1 to 10,000")?;
    let hour = Duration::from_hours(1);
    check(bridge.wait <= hour, "bridge.wait", "must be at most 1h")?;
    check(bridge.design_wait <= hour, "bridge.design_wait", "must be at most 1h")?;
    let Some(meshery) = &bridge.meshery else { return Ok(()) };
    let http = meshery.url.starts_with("http://") || meshery.url.starts_with("https://");
    check(http, "bridge.meshery.url", "must begin with http:// or https://")?;
    // Not repeated: it is a secret.
    check(!meshery.url.contains(['@', '?', '#']), "bridge.meshery.url", "must have no credentials and no query")
}

fn dashboard(dashboard: &Dashboard) -> Result<(), Wrong> {
    let (header, oidc) = (dashboard.identity_header.as_deref(), dashboard.oidc.as_ref());
    let local = dashboard.listen.ip().is_loopback();
    let known = header.is_some() || oidc.is_some();
    check(local || known, "dashboard.listen", "an address other than loopback needs identity_header or oidc")?;
    check(
        header.is_none() || oidc.is_none(),
        "dashboard.oidc",
        "excludes identity_header: give one source of identity",
    )?;
    let name = header.is_none_or(|name| http::HeaderName::try_from(name).is_ok());
    check(name, "dashboard.identity_header", "must be the name of a header")?;
    let proxies = header.is_none() || !dashboard.trusted_proxies.is_empty();
    check(proxies, "dashboard.trusted_proxies", "identity_header needs the addresses of the proxies that set it")?;
    let users = dashboard.operators.is_empty() || known;
    check(users, "dashboard.operators", "needs identity_header or oidc")?;
    check((1..=200_000).contains(&dashboard.max_runs), "dashboard.max_runs", "must be 1 to 200,000")?;
    check((1..=10_000).contains(&dashboard.max_connections), "dashboard.max_connections", "must be 1 to 10,000")?;
    let is_link =
        |url: &String| (url.starts_with("https://") || url.starts_with("http://")) && url.contains(super::TRACE_ID);
    let reason = "must be an http:// or https:// URL with {trace_id}";
    check(dashboard.trace_url.as_ref().is_none_or(is_link), "dashboard.trace_url", reason)?;
    oidc.map_or(Ok(()), |oidc| super::dashboard::validate_oidc(oidc, "dashboard.oidc"))
}

/// Whether it is a SHA-256 in lower-case hex digits.
fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn check(holds: bool, key: &str, reason: &str) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err((key.to_owned(), reason.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        validate(&config).err().map(|(key, _)| key).unwrap_or_default()
    }

    #[test]
    fn defaults_are_valid() {
        assert_eq!(wrong(|_| {}), "");
    }

    #[test]
    fn each_rule_names_its_key() {
        let file = || Some("file".into());
        assert_eq!(wrong(|c| c.nats.url.clear()), "nats.url");
        assert_eq!(wrong(|c| c.nats.url = vec!["nats://me:secret@host".to_owned()]), "nats.url");
        assert_eq!(wrong(|c| c.nats.user = Some("me".to_owned())), "nats.user");
        assert_eq!(wrong(|c| c.nats.password_file = file()), "nats.password_file");
        assert_eq!(wrong(|c| (c.nats.token_file, c.nats.nkey_file) = (file(), file())), "nats.nkey_file");
        assert_eq!(wrong(|c| c.nats.tls_cert = file()), "nats.tls_cert");
        assert_eq!(wrong(|c| c.nats.tls_key = file()), "nats.tls_key");
        assert_eq!(wrong(|c| c.nats.inbox_prefix = "a.*".to_owned()), "nats.inbox_prefix");
        assert_eq!(wrong(|c| c.bus.prefix = "a.b".to_owned()), "bus.prefix");
        for url in ["javascript:{trace_id}", "https://traces.example.com"] {
            assert_eq!(wrong(|c| c.dashboard.trace_url = Some(url.to_owned())), "dashboard.trace_url");
        }
        assert_eq!(wrong(|c| c.bus.replicas = 2), "bus.replicas");
        for name in ["", "a.b", "A", "*"] {
            assert_eq!(wrong(|c| c.bus.parameter_stores = vec![name.to_owned()]), "bus.parameter_stores");
        }
        assert_eq!(wrong(|c| c.bus.lease_ttl = MIN_LEASE_TTL / 2), "bus.lease_ttl");
        assert_eq!(wrong(|c| c.bus.ack_wait = MIN_ACK_WAIT / 2), "bus.ack_wait");
        assert_eq!(wrong(|c| c.worker.slots = 0), "worker.slots");
        assert_eq!(wrong(|c| c.worker.slots = 5_001), "worker.slots");
        assert_eq!(wrong(|c| drop(c.targets.insert("A.b".to_owned(), super::super::Target::default()))), "targets.A.b");
        let target =
            |change: fn(&mut super::super::Target)| wrong(|c| change(c.targets.entry("a".to_owned()).or_default()));
        assert_eq!(target(|t| t.verbs = Some(vec!["Mesh".to_owned()])), "targets.a.verbs");
        assert_eq!(target(|t| t.kinds = Some(vec!["deployments.apps".to_owned()])), "targets.a.kinds");
        assert_eq!(target(|t| t.namespaces = Some(vec!["*-a".to_owned()])), "targets.a.namespaces");
        assert_eq!(wrong(|c| c.charts.source.clear()), "charts.source");
        assert_eq!(wrong(|c| c.charts.source = "https://me:secret@host".to_owned()), "charts.source");
        assert_eq!(wrong(|c| c.charts.timeout = Duration::ZERO), "charts.timeout");
        let digest = |c: &mut Config| drop(c.charts.digests.insert("base-1.30.3".to_owned(), "sha256:ab".to_owned()));
        assert_eq!(wrong(digest), "charts.digests.base-1.30.3");
        assert_eq!(wrong(|c| c.bridge.operations = vec!["bookinfos".to_owned()]), "bridge.operations");
        assert_eq!(wrong(|c| c.bridge.default_target = Some("dev".to_owned())), "bridge.default_target");
        assert_eq!(wrong(|c| c.bridge.versions = vec!["v1".to_owned()]), "bridge.versions");
        assert_eq!(wrong(|c| c.bridge.max_streams = 0), "bridge.max_streams");
        let client = |change: fn(&mut Bridge, &mut BridgeClient)| {
            wrong(|c| {
                let mut ci = BridgeClient {
                    certificate: "ci".to_owned(),
                    operations: vec!["bookinfo".to_owned()],
                    targets: vec!["dev".to_owned()],
                };
                c.bridge.targets.insert("dev".to_owned(), super::super::BridgeTarget::default());
                let file = std::path::PathBuf::new();
                c.bridge.tls = Some(super::super::MutualTls {
                    listen: ([127, 0, 0, 1], 0).into(),
                    cert_file: file.clone(),
                    key_file: file.clone(),
                    client_ca_file: file,
                });
                change(&mut c.bridge, &mut ci);
                c.bridge.clients.insert("ci".to_owned(), ci);
            })
        };
        assert_eq!(client(|_, _| {}), "");
        assert_eq!(client(|bridge, _| bridge.tls = None), "bridge.clients.ci");
        let twice =
            |bridge: &mut Bridge, ci: &mut BridgeClient| drop(bridge.clients.insert("a".to_owned(), ci.clone()));
        assert_eq!(client(twice), "bridge.clients.a.certificate");
        assert_eq!(client(|_, ci| ci.operations = vec!["custom".to_owned()]), "bridge.clients.ci.operations");
        assert_eq!(client(|bridge, _| bridge.operations = vec!["httpbin".to_owned()]), "bridge.clients.ci.operations");
        assert_eq!(client(|_, ci| ci.operations.clear()), "bridge.clients.ci.operations");
        assert_eq!(client(|_, ci| ci.targets = vec!["prod".to_owned()]), "bridge.clients.ci.targets");
        assert_eq!(wrong(|c| c.dashboard.listen = ([0, 0, 0, 0], 8322).into()), "dashboard.listen");
        let header = |c: &mut Config| c.dashboard.identity_header = Some("X-Forwarded-User".to_owned());
        assert_eq!(wrong(header), "dashboard.trusted_proxies");
        assert_eq!(wrong(|c| c.dashboard.operators = vec!["jane".to_owned()]), "dashboard.operators");
        assert_eq!(wrong(|c| c.dashboard.max_runs = 0), "dashboard.max_runs");
        assert_eq!(wrong(|c| c.telemetry.otlp_endpoint = Some("http://u:p@h".to_owned())), "telemetry.otlp_endpoint");
    }
}
