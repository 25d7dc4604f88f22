//! The connections of a target: those of the worker's configuration, and those that `connection.apply` has stored.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::store::{RECORD, Record, installation};
use crate::cluster::{self, Cluster};
use crate::config::Connection;
use crate::observe::instance::{Instance, InstanceKind, ServiceAddress};
use crate::observe::witness::Url;
use crate::task::Error;

/// A connection that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KnownConnection {
    /// Its name, as commands use it.
    pub name: String,
    /// Kind of its server.
    pub kind: InstanceKind,
    /// Whether it is one of the worker's configuration; otherwise `connection.apply` stored it.
    pub configured: bool,
    /// Fingerprint of its server, if it is one of the reported ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// The connections of the target, by name. Stored ones are left out where the worker may not list them; then the reason is
/// added to `unread`.
///
/// # Errors
/// When the API server cannot be reached at all.
pub(super) async fn read(
    cluster: &Cluster,
    instances: &[Instance],
    unread: &mut Vec<String>,
) -> Result<Vec<KnownConnection>, Error> {
    let mut all: BTreeMap<String, KnownConnection> = BTreeMap::new();
    let mut maps = Vec::new();
    if let Some(kind) = cluster.kind("v1", "ConfigMap").await? {
        match cluster.list(&kind, Some(cluster.inventory_namespace()), None, |map| maps.push(map)).await {
            Err(error @ cluster::Error::Request { .. }) => unread.push(format!("stored connections: {error}")),
            listed => listed?,
        }
    }
    for (name, record) in maps.iter().filter_map(stored) {
        let fingerprint = of_service(record.kind, &record.service, instances);
        all.insert(name.clone(), KnownConnection { name, kind: record.kind, configured: false, fingerprint });
    }
    for (name, connection) in cluster.connections() {
        let (name, kind) = (name.clone(), connection.kind);
        let fingerprint = of_configured(connection, instances);
        all.insert(name.clone(), KnownConnection { name, kind, configured: true, fingerprint });
    }
    Ok(all.into_values().collect())
}

/// Names the connection in the reason of a server outside the cluster, which is usable by it.
pub(super) fn name_outside(instances: &mut [Instance], connections: &[KnownConnection]) {
    for one in instances.iter_mut().filter(|one| one.url.is_some()) {
        let leads_here = |known: &&KnownConnection| known.fingerprint.as_ref() == Some(&one.fingerprint);
        if let Some(known) = connections.iter().find(leads_here) {
            one.reason = Some(format!(
                "outside the cluster: the connection {} of the worker's configuration leads to it",
                known.name
            ));
        }
    }
}

/// Name and record of a stored connection.
fn stored(map: &Value) -> Option<(String, Record)> {
    let name = map["metadata"]["name"].as_str()?.strip_prefix(&installation(""))?;
    Some((name.to_owned(), serde_json::from_str(map["data"][RECORD].as_str()?).ok()?))
}

fn of_service(kind: InstanceKind, service: &ServiceAddress, instances: &[Instance]) -> Option<String> {
    let own = Instance::fingerprint_of(kind, service);
    let address = service.to_string();
    let is_same = |one: &&Instance| one.fingerprint == own || one.kind == kind && one.addresses.contains(&address);
    instances.iter().find(is_same).map(|one| one.fingerprint.clone())
}

fn of_configured(connection: &Connection, instances: &[Instance]) -> Option<String> {
    if let Some(service) = &connection.service {
        return of_service(connection.kind, service, instances);
    }
    let url = Url::parse(&connection.url)?;
    if let Some((namespace, name, port)) = url.in_cluster() {
        let service = ServiceAddress { namespace, name, port, path: url.path.clone(), tls: url.tls };
        if let Some(found) = of_service(connection.kind, &service, instances) {
            return Some(found);
        }
    }
    let outside = format!("{}/{url}", connection.kind);
    instances.iter().find(|one| one.fingerprint == outside).map(|one| one.fingerprint.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn instance(fingerprint: &str, addresses: &[&str]) -> Instance {
        serde_json::from_value(json!({
            "fingerprint": fingerprint, "kind": "prometheus", "flavor": "prometheus", "score": 0.9, "evidence": [],
            "state": "connected", "addresses": addresses,
        }))
        .unwrap()
    }

    fn configured(url: &str) -> Connection {
        serde_json::from_value(json!({"kind": "prometheus", "url": url})).unwrap()
    }

    #[test]
    fn server_of_a_connection_is_found_by_its_service_and_by_its_url() {
        let instances = [
            instance("prometheus/monitoring/prometheus:9090", &["http://prometheus-operated.monitoring:9090"]),
            instance("prometheus/metrics/thanos:80/query", &[]),
            instance("prometheus/https://prom.example:443/p", &[]),
        ];
        for (url, found) in [
            ("http://prometheus.monitoring.svc:9090", Some(0)),
            ("http://prometheus.monitoring.svc.cluster.local:9090/", Some(0)),
            ("http://prometheus-operated.monitoring:9090", Some(0)),
            ("http://thanos.metrics/query", Some(1)),
            ("http://thanos.metrics/other", None),
            ("https://user:secret@prom.example/p/", Some(2)),
            ("https://prom.example/", None),
        ] {
            let wanted: Option<String> = found.map(|index: usize| instances[index].fingerprint.clone());
            assert_eq!(of_configured(&configured(url), &instances), wanted, "{url}");
        }
    }

    #[test]
    fn server_outside_the_cluster_names_its_connection() {
        let fingerprint = "prometheus/https://prom.example:443".to_owned();
        let mut instances = [instance(&fingerprint, &[]), instance("prometheus/https://other.example:443", &[])];
        for one in &mut instances {
            one.url = Some("https://example".to_owned());
        }
        let (name, kind) = ("central".to_owned(), InstanceKind::Prometheus);
        let known = KnownConnection { name, kind, configured: true, fingerprint: Some(fingerprint) };
        name_outside(&mut instances, &[known]);
        assert!(instances[0].reason.as_ref().unwrap().contains("connection central"), "{instances:?}");
        assert_eq!(instances[1].reason, None);
    }

    #[test]
    fn stored_connections_are_read_by_their_names() {
        let service = json!({"namespace": "monitoring", "name": "prometheus", "port": 9090});
        let record = json!({"kind": "prometheus", "service": service}).to_string();
        let map = |name: &str, record: &str| json!({"metadata": {"name": name}, "data": {RECORD: record}});
        assert_eq!(stored(&map("metrics-connection-mesh", &record)).unwrap().0, "mesh");
        assert_eq!(stored(&map("metrics-connection-mesh", "{")), None);
        assert_eq!(stored(&map("inventory-of-mesh", &record)), None);
    }
}
