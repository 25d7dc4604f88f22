//! Whether STRICT mTLS applies to a port of a pod. Source: Istio, `PeerAuthentication`: the policy with a matching selector
//! overrides that of the namespace, which overrides that of the root namespace; an unset mode inherits.

use serde_json::Value;

use super::{Mesh, text};
use crate::analysis::istio::selector::selects;

/// Whether it does. The default is PERMISSIVE.
pub(super) fn is_strict(pod: &Value, port: u16, mesh: &Mesh) -> bool {
    let space = text(pod, "namespace");
    let selector =
        |policy: &Value| policy["spec"]["selector"]["matchLabels"].as_object().is_some_and(|all| !all.is_empty());
    let of_workload = mesh
        .peer_authentications
        .iter()
        .filter(|one| text(one, "namespace") == space && selector(one))
        .filter(|one| selects(&one["spec"]["selector"], &pod["metadata"]["labels"]));
    let of_namespace = mesh.peer_authentications.iter().filter(|one| text(one, "namespace") == space && !selector(one));
    let of_mesh = mesh
        .peer_authentications
        .iter()
        .filter(|one| mesh.root_namespaces.iter().any(|root| root == text(one, "namespace")) && !selector(one));
    let mode = of_workload
        .flat_map(|one| [&one["spec"]["portLevelMtls"][port.to_string()]["mode"], &one["spec"]["mtls"]["mode"]])
        .chain(of_namespace.chain(of_mesh).map(|one| &one["spec"]["mtls"]["mode"]))
        .find_map(|mode| mode.as_str().filter(|mode| *mode != "UNSET"));
    mode == Some("STRICT")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn narrower_policies_override_wider_ones() {
        let pod = json!({"metadata": {"namespace": "shop", "name": "web-1", "labels": {"app": "web"}}});
        let policy = |space: &str, spec: Value| json!({"metadata": {"namespace": space, "name": "p"}, "spec": spec});
        let strict = json!({"mtls": {"mode": "STRICT"}});
        let web = |mut spec: Value| {
            spec["selector"] = json!({"matchLabels": {"app": "web"}});
            spec
        };
        let port = |mode: &str| web(json!({"mtls": {"mode": "STRICT"}, "portLevelMtls": {"8080": {"mode": mode}}}));
        for (policies, wanted) in [
            (vec![], false),
            (vec![policy("istio-system", strict.clone())], true),
            (vec![policy("other", strict.clone())], false),
            (
                vec![policy("istio-system", strict.clone()), policy("shop", json!({"mtls": {"mode": "PERMISSIVE"}}))],
                false,
            ),
            (vec![policy("istio-system", strict.clone()), policy("shop", json!({"mtls": {"mode": "UNSET"}}))], true),
            (vec![policy("shop", port("DISABLE"))], false),
            (vec![policy("shop", port("UNSET"))], true),
            (
                vec![policy("shop", json!({"selector": {"matchLabels": {"app": "db"}}, "mtls": {"mode": "STRICT"}}))],
                false,
            ),
        ] {
            let mesh = Mesh {
                peer_authentications: policies.clone(),
                root_namespaces: vec!["istio-system".to_owned()],
                ..Mesh::default()
            };
            assert_eq!(is_strict(&pod, 8080, &mesh), wanted, "{policies:?}");
        }
    }
}
