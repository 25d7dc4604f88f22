//! Checks for applications that run with the proxy's user ID. Source: istio `analyzers/deployment/pod.go`
//! (applicationUID).

use crate::istio::pod::PROXY_CONTAINER;
use crate::membership::is_control_plane;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule =
    Rule { name: "applicationUID.Analyzer", codes: &[&IST0144], inputs: KINDS, check: Check::Each(KINDS, check) };

const KINDS: &[Kind] = &[Kind::Pod, Kind::Deployment];

static IST0144: Code = Code {
    id: "IST0144",
    name: "InvalidApplicationUID",
    level: Level::Warning,
    title: "Application runs with the user ID of the proxy (1337)",
    why: "Traffic redirection excludes user 1337 so that the proxy's own traffic is not redirected. The application's \
          traffic therefore bypasses the sidecar.",
    remedy: "Run the application with another user ID.",
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
/// Containers that may run as the proxy's user.
const PROXIES: [&str; 2] = [PROXY_CONTAINER, "istio-operator"];

fn check(_: &View<'_>, workload: &Resource, findings: &mut Findings) {
    if is_control_plane(workload) {
        return;
    }
    let prefix = if workload.kind == Kind::Pod { "spec" } else { "spec.template.spec" };
    let pod = &workload.pod_template()["spec"];
    let mut places = Vec::new();
    // A pod of proxies only, such as a gateway with the template `gateway` of the injector, is the proxy.
    let applications = pod["containers"].items().iter().filter(|it| !PROXIES.contains(&it["name"].text()));
    if pod.at("securityContext.runAsUser").as_int() == Some(PROXY) && applications.count() > 0 {
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
        .add(
            &IST0144,
            workload,
            format!(
                "user 1337 is reserved for the proxy: traffic of {names} bypasses the \
                                          sidecar"
            ),
        )
        .field(first);
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn gateway_that_the_injector_fills_in_runs_as_the_proxy() {
        let gateway =
            super::IST0144.example.before.replace("name: cart, image: cart", "name: istio-proxy, image: auto");
        assert!(!reported(&gateway).contains("IST0144"));
        let both = gateway.replace("containers: [", "containers: [{name: cart, image: cart}, ");
        assert!(reported(&both).contains("IST0144"));
    }
}
