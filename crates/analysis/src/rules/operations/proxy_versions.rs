//! Checks the version skew between proxies and the control plane, and between the containers of a pod. Source:
//! istio.io, supported releases ("control plane/data plane skew"); istio-vet `meshversion` (init image).

use crate::istio::component::{DISCOVERY_CONTAINER, is_istiod};
use crate::istio::pod::PROXY_CONTAINER;
use crate::rules::support::text::some_of;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "operations.ProxyVersions",
    codes: &[&SH7219, &SH7318],
    inputs: &[Kind::Pod, Kind::Deployment, Kind::MeshConfig],
    check: Check::Namespaces(&[Kind::Pod], check),
};

static SH7219: Code = Code {
    id: "SH7219",
    name: "ProxyVersionSkew",
    level: Level::Warning,
    title: "Proxy version is outside the supported skew of the control plane",
    why: "Istio does not test this combination. The proxies may not understand the configuration that istiod sends, \
          and they lack security fixes.",
    remedy: "Restart the workloads, so that they get the current proxy version.",
    source: "https://istio.io/latest/docs/releases/supported-releases/#control-planedata-plane-skew",
    example: Example {
        before: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec: {template: {spec: {containers: [{name: discovery, image: 'istio/pilot:1.28.0'}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: cart-1, namespace: shop, labels: {app: cart}}
spec: {containers: [{name: istio-proxy, image: 'istio/proxyv2:1.24.3'}]}
",
        after: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
spec: {template: {spec: {containers: [{name: discovery, image: 'istio/pilot:1.28.0'}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: cart-1, namespace: shop, labels: {app: cart}}
spec: {containers: [{name: istio-proxy, image: 'istio/proxyv2:1.27.1'}]}
",
    },
    also: &[],
};

static SH7318: Code = Code {
    id: "SH7318",
    name: "InitImageDiffers",
    level: Level::Warning,
    title: "Versions of istio-init and istio-proxy differ in a pod",
    why: "The traffic redirection rules of the init container may not match the proxy. This often happens with \
          manually injected templates that were updated in part.",
    remedy: "Use automatic injection, or update both images together.",
    source: "https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/",
    example: Example {
        before: "\
apiVersion: v1
kind: Pod
metadata: {name: cart-1, namespace: shop, labels: {app: cart}}
spec:
  initContainers: [{name: istio-init, image: 'istio/proxyv2:1.24.3'}]
  containers: [{name: istio-proxy, image: 'istio/proxyv2:1.28.0'}]
",
        after: "\
apiVersion: v1
kind: Pod
metadata: {name: cart-1, namespace: shop, labels: {app: cart}}
spec:
  initContainers: [{name: istio-init, image: 'istio/proxyv2:1.28.0'}]
  containers: [{name: istio-proxy, image: 'istio/proxyv2:1.28.0'}]
",
    },
    also: &["istio-vet meshversion"],
};

fn check(view: &View<'_>, namespace: &str, findings: &mut Findings) {
    let newest = view
        .in_namespace(Kind::Deployment, view.root_namespace())
        .iter()
        .filter(|deployment| is_istiod(deployment.labels()))
        .filter_map(|istiod| minor(image(&istiod.pod_template()["spec"]["containers"], DISCOVERY_CONTAINER)?))
        .max();
    let (mut old, mut mixed): (Vec<&Resource>, Vec<&Resource>) = (Vec::new(), Vec::new());
    for pod in view.in_namespace(Kind::Pod, namespace) {
        let spec = pod.spec();
        let found =
            image(&spec["containers"], PROXY_CONTAINER).or_else(|| image(&spec["initContainers"], PROXY_CONTAINER));
        let Some(proxy) = found else { continue };
        if let (Some(newest), Some(own)) = (newest, minor(proxy))
            && (own.0 != newest.0 || own.1 + 2 < newest.1 || own.1 > newest.1)
        {
            old.push(pod);
        }
        if image(&spec["initContainers"], "istio-init").is_some_and(|init| tag(init) != tag(proxy)) {
            mixed.push(pod);
        }
    }
    let mut add_finding = |code: &'static Code, pods: &[&Resource], what: &str| {
        let Some(first) = pods.first() else { return };
        let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
        findings.add(code, first, format!("{what}: {}", some_of(&names))).arguments(names);
    };
    let control_plane = newest.map(|(major, minor)| format!("{major}.{minor}")).unwrap_or_default();
    add_finding(&SH7219, &old, &format!("proxies outside the supported skew of istiod {control_plane}"));
    add_finding(&SH7318, &mixed, "istio-init and istio-proxy have different versions");
}

fn image<'a>(containers: &'a Value, name: &str) -> Option<&'a str> {
    containers.items().iter().find(|container| container["name"].text() == name)?["image"].as_str()
}

/// Image tag without a digest; the port of a registry is not a tag.
fn tag(image: &str) -> Option<&str> {
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    image.rsplit('/').next()?.split_once(':').map(|(_, tag)| tag)
}

/// Major and minor version.
fn minor(image: &str) -> Option<(u32, u32)> {
    let mut numbers = tag(image)?.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
