//! Applications that run with the proxy's user id. Source: istio `analyzers/deployment/pod.go` (applicationUID).

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

/// The rule.
pub static RULE: Rule =
    Rule { name: "applicationUID.Analyzer", codes: &[&IST0144], reads: KINDS, check: Check::Each(KINDS, check) };

const KINDS: &[Kind] = &[Kind::Pod, Kind::Deployment];

static IST0144: Code = Code {
    id: "IST0144",
    name: "InvalidApplicationUID",
    level: Level::Warning,
    title: "An application runs as user 1337, which is the proxy's",
    why: "Traffic of user 1337 is not sent through the proxy, since the proxy's own must not be: the application is \
          outside of the mesh without anybody noticing.",
    remedy: "Run the application as another user.",
    source: "https://istio.io/latest/docs/ops/deployment/application-requirements/#pod-requirements",
    example: Example {
        before: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    spec:
      securityContext: {runAsUser: 1337}
      containers: [{name: cart, image: cart}]
",
        after: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    spec:
      securityContext: {runAsUser: 1000}
      containers: [{name: cart, image: cart}]
",
    },
    also: &[],
};

const PROXY: i64 = 1337;
/// Containers that may be the proxy's user.
const PROXIES: [&str; 2] = ["istio-proxy", "istio-operator"];

fn check(_: &View<'_>, workload: &Resource, findings: &mut Findings) {
    if workload.label("istio").is_some() || workload.label("release") == Some("istio") {
        return;
    }
    let prefix = if workload.kind == Kind::Pod { "spec" } else { "spec.template.spec" };
    let pod = &workload.pod_template()["spec"];
    let mut places = Vec::new();
    if pod.at("securityContext.runAsUser").as_int() == Some(PROXY) {
        places.push(("the pod".to_owned(), format!("{prefix}.securityContext.runAsUser")));
    }
    for (index, container) in pod["containers"].items().iter().enumerate() {
        let name = container["name"].text();
        if !PROXIES.contains(&name) && container.at("securityContext.runAsUser").as_int() == Some(PROXY) {
            places
                .push((format!("container {name}"), format!("{prefix}.containers[{index}].securityContext.runAsUser")));
        }
    }
    let Some((_, first)) = places.first() else { return };
    let names = places.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    findings
        .add(&IST0144, workload, format!("user 1337 is the proxy's: traffic of {names} bypasses the proxy"))
        .field(first);
}
