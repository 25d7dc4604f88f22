//! Checks for TLS modes of clients that conflict with the servers' mutual TLS mode. Source: istio.io, common network
//! problems, "503 errors after setting destination rule"; Kiali's checks KIA0207, KIA0208, KIA0505, KIA0506.

use super::mode::{self, EffectiveMode, Mode};
use crate::hosts::{fqdn, service_of};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, Value, View, Within};

pub static RULE: Rule = Rule {
    name: "mutual_tls.ClientAndServer",
    codes: &[&SH7108, &SH7109],
    inputs: &[
        Kind::DestinationRule,
        Kind::PeerAuthentication,
        Kind::MeshConfig,
        Kind::Namespace,
        Kind::Service,
        Kind::Pod,
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::Job,
        Kind::CronJob,
    ],
    check: Check::Each(&[Kind::DestinationRule], check),
};

static SH7108: Code = Code {
    id: "SH7108",
    name: "MutualTlsToPlaintextServer",
    level: Level::Error,
    title: "DestinationRule uses mutual TLS for servers that accept only plaintext",
    why: "The server does not understand the TLS handshake, so all requests fail with 503.",
    remedy: "Remove the tls settings from the DestinationRule, so that Istio detects what the server accepts, or \
             enable mutual TLS on the server.",
    source: "https://istio.io/latest/docs/ops/common-problems/network-issues/#503-errors-after-setting-destination-rule",
    example: Example {
        before: "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: DISABLE}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec:
  host: cart
  trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}
",
        after: "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec:
  host: cart
  trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}
",
    },
    also: &["KIA0505", "KIA0506"],
};

static SH7109: Code = Code {
    id: "SH7109",
    name: "PlaintextToStrictServer",
    level: Level::Error,
    title: "DestinationRule does not use mutual TLS for servers that require it",
    why: "The server closes the connection, so all requests fail with 503. This often happens when a DestinationRule \
          is added for another reason and its tls mode is set without need.",
    remedy: "Remove the tls settings from the DestinationRule, so that Istio uses mutual TLS automatically, or set \
             mode ISTIO_MUTUAL.",
    source: "https://istio.io/latest/docs/ops/common-problems/network-issues/#503-errors-after-setting-destination-rule",
    example: Example {
        before: "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec:
  host: cart
  trafficPolicy: {tls: {mode: DISABLE}}
",
        after: "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec:
  host: cart
  trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST}}
",
    },
    also: &["KIA0207", "KIA0208"],
};

/// The servers to which a `DestinationRule` applies.
enum Servers<'a> {
    Mesh,
    Namespace(&'a str),
    Service { namespace: &'a str, service: Option<&'a Resource> },
}

fn check(view: &View<'_>, rule: &Resource, findings: &mut Findings) {
    let spec = rule.spec();
    let mut policies = vec![("spec.trafficPolicy".to_owned(), &spec["trafficPolicy"])];
    for (index, subset) in spec["subsets"].items().iter().enumerate() {
        policies.push((format!("spec.subsets[{index}].trafficPolicy"), &subset["trafficPolicy"]));
    }
    policies.retain(|(_, policy)| says_tls(policy));
    if policies.is_empty() {
        return;
    }
    let host = spec["host"].text();
    let full = fqdn(host, &rule.namespace);
    let Some(servers) = servers(view, &full) else { return };
    for (path, policy) in policies {
        let mut compare = |tls: &Value, path: String, port: Option<i64>| {
            let server = servers.mode(view, port);
            if !server.policy.is_some_and(|policy| servers.are_meshed(view, policy)) {
                return;
            }
            let client = tls["mode"].text();
            let (code, takes) = match (client, server.mode) {
                ("DISABLE" | "SIMPLE", Mode::Strict) => (&SH7109, "mutual TLS only"),
                ("ISTIO_MUTUAL" | "MUTUAL", Mode::Disable) => (&SH7108, "plaintext only"),
                _ => return,
            };
            let Some(by) = server.policy else { return };
            let message =
                format!("tls mode {client} to {host}, which accepts {takes} (PeerAuthentication {})", by.full_name());
            findings.add(code, rule, message).field(path).arguments([host, client, &by.full_name()]).related(by);
        };
        compare(&policy["tls"], format!("{path}.tls.mode"), None);
        for (index, settings) in policy["portLevelSettings"].items().iter().enumerate() {
            let port = settings["port"]["number"].as_int();
            compare(&settings["tls"], format!("{path}.portLevelSettings[{index}].tls.mode"), port);
        }
    }
}

fn says_tls(policy: &Value) -> bool {
    policy["tls"]["mode"].is_set()
        || policy["portLevelSettings"].items().iter().any(|settings| settings["tls"]["mode"].is_set())
}

/// None for hosts outside the cluster, and for wildcards that do not cover exactly one namespace.
fn servers<'a>(view: &View<'a>, host: &'a str) -> Option<Servers<'a>> {
    if matches!(host, "*" | "*.local" | "*.cluster.local" | "*.svc.cluster.local") {
        return Some(Servers::Mesh);
    }
    let (namespace, name) = service_of(host)?;
    match name {
        "*" => Some(Servers::Namespace(namespace)),
        _ => Some(Servers::Service { namespace, service: view.get(Kind::Service, namespace, name) }),
    }
}

impl Servers<'_> {
    fn mode<'v>(&self, view: &View<'v>, port: Option<i64>) -> EffectiveMode<'v> {
        match self {
            Self::Mesh => mode::of_mesh(view),
            Self::Namespace(namespace) | Self::Service { namespace, service: None } => {
                mode::of_namespace(view, namespace)
            }
            Self::Service { namespace, service: Some(service) } => {
                let selector = Selector::new(&service.spec()["selector"]);
                mode::of_workload(view, namespace, &selector, port.map(|port| target(service, port)))
            }
        }
    }

    /// A PeerAuthentication applies only to workloads with a proxy. If the pods are unknown, a policy in the same
    /// namespace shows that they are meant to have one.
    fn are_meshed(&self, view: &View<'_>, policy: &Resource) -> bool {
        match self {
            Self::Mesh => true,
            Self::Namespace(namespace) => {
                let known = view.get(Kind::Namespace, "", namespace);
                known.map_or(policy.namespace == *namespace, is_meshed)
            }
            Self::Service { namespace, service } => {
                let selector = service.map(|service| Selector::new(&service.spec()["selector"])).unwrap_or_default();
                if service.is_some() && selector.is_empty() {
                    return false;
                }
                let mut pods = (!selector.is_empty())
                    .then(|| view.workloads(Within::Namespace(namespace), &selector))
                    .into_iter()
                    .flatten()
                    .peekable();
                if pods.peek().is_some() {
                    return pods.any(|pod| view.is_in_mesh(pod));
                }
                let known = view.get(Kind::Namespace, "", namespace);
                known.map_or(policy.namespace == *namespace, is_meshed)
            }
        }
    }
}

fn is_meshed(namespace: &Resource) -> bool {
    crate::membership::namespace_mode(namespace).is_in_mesh()
}

/// Container port behind a Service port. A port name is not resolved, so the port-level mode is then unknown.
fn target(service: &Resource, port: i64) -> i64 {
    let ports = service.spec()["ports"].items();
    let Some(found) = ports.iter().find(|item| item["port"].as_int() == Some(port)) else { return port };
    found["targetPort"].as_int().unwrap_or(port)
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    /// The rule's own case with the service and its pods known.
    fn with_pods(inject: &str) -> String {
        format!(
            "{}---
apiVersion: v1
kind: Service
metadata: {{name: cart, namespace: shop}}
spec: {{selector: {{app: cart}}, ports: [{{port: 80, name: http}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: cart, namespace: shop}}
spec: {{template: {{metadata: {{labels: {{app: cart, sidecar.istio.io/inject: '{inject}'}}}}}}}}
",
            super::SH7109.example.before
        )
    }

    #[test]
    fn policy_does_not_apply_without_sidecar() {
        assert!(reported(&with_pods("true")).contains("SH7109"));
        assert!(!reported(&with_pods("false")).contains("SH7109"));
    }

    #[test]
    fn workload_policy_overrides_namespace_policy() {
        let own = format!(
            "{}---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: cart, namespace: shop}}
spec: {{selector: {{matchLabels: {{app: cart}}}}, mtls: {{mode: PERMISSIVE}}}}
",
            with_pods("true")
        );
        assert!(!reported(&own).contains("SH7109"));
    }

    #[test]
    fn external_hosts_have_no_policy() {
        let outside = super::SH7109.example.before.replace("host: cart", "host: cart.example.com");
        assert!(!reported(&outside).contains("SH7109"));
    }
}
