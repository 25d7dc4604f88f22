//! Checks for pods whose proxy image differs from the injector's. Source: istio
//! `analyzers/injection/injection-image.go`.
//!
//! Differs from istioctl: as in the injector, the annotation `sidecar.istio.io/proxyImageType` selects the variant.

use std::collections::BTreeMap;

use crate::istio::membership::{INJECTION, REVISION};
use crate::istio::pod::proxy_containers;
use crate::mesh::read_embedded;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Selector, Value, View};

pub static RULE: Rule = Rule {
    name: "injection.ImageAnalyzer",
    codes: &[&IST0158],
    inputs: &[Kind::Namespace, Kind::Pod, Kind::ConfigMap, Kind::MeshConfig, Kind::ProxyConfig],
    check: Check::Once(check),
};

static IST0158: Code = Code {
    id: "IST0158",
    name: "PodsIstioProxyImageMismatchInNamespace",
    level: Level::Warning,
    title: "Pods run a proxy image that differs from the injector's",
    why: "The pods were created before the control plane was upgraded. Their proxies lack the fixes of the new \
          version, and a skew of more than two minor versions is not supported.",
    remedy: "Restart the workloads: `kubectl rollout restart deployment --namespace …`.",
    source: "https://istio.io/latest/docs/setup/upgrade/",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-sidecar-injector, namespace: istio-system}
data: {values: '{\"global\":{\"hub\":\"hub\",\"tag\":\"1.29.0\",\"proxy\":{\"image\":\"proxyv2\"}}}'}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop}
spec: {containers: [{name: istio-proxy, image: 'hub/proxyv2:1.28.0'}]}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-sidecar-injector, namespace: istio-system}
data: {values: '{\"global\":{\"hub\":\"hub\",\"tag\":\"1.29.0\",\"proxy\":{\"image\":\"proxyv2\"}}}'}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop}
spec: {containers: [{name: istio-proxy, image: 'hub/proxyv2:1.29.0'}]}
",
    },
    also: &["istio-vet sidecar-image-mismatch"],
};

const INJECTOR: &str = "istio-sidecar-injector";
/// Pods that a message lists; the rest is counted.
const SHOWN: usize = 10;

fn check(view: &View<'_>, findings: &mut Findings) {
    let mut images: BTreeMap<&str, String> = BTreeMap::new();
    for map in view.all(Kind::ConfigMap).iter().filter(|map| map.name.starts_with(INJECTOR)) {
        images.insert(&map.name, injected_image(map));
    }
    if images.is_empty() {
        return;
    }
    for namespace in view.all(Kind::Namespace) {
        let revision = namespace.label(REVISION);
        let injector = match revision {
            None if namespace.label(INJECTION) != Some("enabled") => continue,
            None | Some("" | "default") => INJECTOR.to_owned(),
            Some(revision) => format!("{INJECTOR}-{revision}"),
        };
        let Some(image) = images.get(injector.as_str()) else { continue };
        let pods = view.in_namespace(Kind::Pod, &namespace.name);
        let pods = pods.iter().filter(|pod| pod.cluster == namespace.cluster);
        let others: Vec<&str> =
            pods.filter(|pod| has_other_image(view, pod, image)).map(|pod| pod.name.as_str()).collect();
        if others.is_empty() {
            continue;
        }
        let mut shown = others.iter().take(SHOWN).copied().collect::<Vec<_>>().join(" ");
        if others.len() > SHOWN {
            shown = format!("{shown} and {} more", others.len() - SHOWN);
        }
        findings
            .add(&IST0158, namespace, format!("the injector sets image {image}, but {shown} runs another one"))
            .field("metadata.name")
            .arguments([shown]);
    }
}

/// Proxy image from the injector's values.
fn injected_image(map: &Resource) -> String {
    let values: Value = serde_json::from_str(map.root["data"]["values"].text()).unwrap_or_default();
    let global = &values["global"];
    let image = global["proxy"]["image"].text();
    if image.contains('/') {
        return image.to_owned();
    }
    format!("{}/{image}:{}", global["hub"].text(), global["tag"].scalar_text())
}

fn has_other_image(view: &View<'_>, pod: &Resource, image: &str) -> bool {
    if pod.annotation("sidecar.istio.io/proxyImage").is_some_and(|image| !image.is_empty()) {
        return false;
    }
    proxy_containers(pod.pod_template()).any(|proxy| {
        let own = proxy["image"].text();
        own != image && own.strip_prefix(image).and_then(|rest| rest.strip_prefix('-')) != Some(&image_type(view, pod))
    })
}

/// Variant of a pod's proxy image: `distroless`, `debug`, or empty for the default. The most specific setting wins.
fn image_type(view: &View<'_>, pod: &Resource) -> String {
    let mesh = view.mesh();
    let mut found = mesh.config().at("defaultConfig.image.imageType").text().to_owned();
    let mut take = |node: &Value| {
        if let Some(text) = node.at("image.imageType").as_str().filter(|text| !text.is_empty()) {
            text.clone_into(&mut found);
        }
    };
    for config in view.in_namespace(Kind::ProxyConfig, mesh.root_namespace()) {
        take(config.spec());
    }
    if pod.namespace != mesh.root_namespace() {
        let (selecting, whole): (Vec<_>, Vec<_>) = view
            .in_namespace(Kind::ProxyConfig, &pod.namespace)
            .iter()
            .partition(|config| config.spec()["selector"].is_set());
        for config in whole {
            take(config.spec());
        }
        for config in selecting {
            if Selector::new(&config.spec()["selector"]["matchLabels"]).matches(pod.labels()) {
                take(config.spec());
            }
        }
    }
    if let Some(text) = pod.annotation("proxy.istio.io/config") {
        take(&read_embedded(text).unwrap_or_default());
    }
    if let Some(own) = pod.annotation("sidecar.istio.io/proxyImageType") {
        own.clone_into(&mut found);
    }
    if found == "default" { String::new() } else { found }
}
