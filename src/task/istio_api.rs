//! Istio's APIs: the served version, the objects that tasks write, and the hosts that they name. Shared by all tasks.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DynamicObject, TypeMeta};
use serde_json::{Value, json};

use crate::analysis::istio::{host, managed};
use crate::cluster::{Cluster, Error};

/// Newest first: an object keeps its meaning, and old clusters have old versions only.
pub const NETWORKING: [&str; 3] =
    ["networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"];

/// Newest first.
pub const SECURITY: [&str; 2] = ["security.istio.io/v1", "security.istio.io/v1beta1"];

/// The first of `versions` in which the cluster serves all `kinds`.
///
/// # Errors
/// When discovery fails.
pub async fn newest(
    cluster: &Cluster,
    versions: &[&'static str],
    kinds: &[&str],
) -> Result<Option<&'static str>, Error> {
    'versions: for version in versions {
        for kind in kinds {
            if cluster.kind(version, kind).await?.is_none() {
                continue 'versions;
            }
        }
        return Ok(Some(version));
    }
    Ok(None)
}

/// An object of ours. `mark` is a label by which the family of verbs finds its own again.
pub fn object(
    (api_version, kind): (&str, &str),
    namespace: &str,
    name: &str,
    mark: (&str, &str),
    spec: &Value,
) -> DynamicObject {
    let labels = [(managed::BY, managed::SAILHAND), mark];
    DynamicObject {
        types: Some(TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() }),
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        data: json!({ "spec": spec }),
    }
}

/// Whether `host`, written in an object in `from`, is the Service. Istio takes a host without a dot for one of the
/// object's own namespace, and any other for a full name, whose last part is the cluster's domain (config/host in
/// istio/istio).
pub fn is_host_of(host: &str, from: &str, service: &str, namespace: &str) -> bool {
    host::service(host, from).is_some_and(|meant| (meant.name, meant.namespace) == (service, namespace))
}

/// The namespace of the Service that `host`, written in an object in `from`, names; none for hosts outside.
pub fn namespace_of<'a>(host: &'a str, from: &'a str) -> Option<&'a str> {
    host::service(host, from).map(|meant| meant.namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_istio_reads_them() {
        for (host, from, same) in [
            ("reviews", "shop", true),
            ("reviews", "other", false),
            ("reviews.shop.svc.cluster.local", "other", true),
            ("reviews.shop.svc.example.org", "other", true),
            ("reviews.shop", "shop", false),
            ("old-reviews.shop.svc.cluster.local", "shop", false),
            ("*", "shop", false),
        ] {
            assert_eq!(is_host_of(host, from, "reviews", "shop"), same, "{host} in {from}");
        }
        assert_eq!(namespace_of("reviews", "shop"), Some("shop"));
        assert_eq!(namespace_of("reviews.shop.svc.cluster.local", "x"), Some("shop"));
        assert_eq!(namespace_of("*.shop.svc.cluster.local", "x"), Some("shop"));
        assert_eq!(namespace_of("*.local", "x"), None);
        assert_eq!(namespace_of("*", "x"), None);
    }
}
