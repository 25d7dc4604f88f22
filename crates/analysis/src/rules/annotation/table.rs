//! Istio's annotations with the kinds they apply to and their maturity. Data of istio/api `annotation/annotations.yaml`
//! (as of 2026-08-24), by name; an annotation without a status there is alpha.

use Change::{Current, Deprecated};
use Status::{Alpha, Beta, Stable};

/// One annotation.
pub struct Annotation {
    /// Key, such as `sidecar.istio.io/inject`.
    pub name: &'static str,
    /// Maturity.
    pub status: Status,
    /// Whether it is deprecated.
    pub change: Change,
    /// Kinds of objects it applies to; `Any` for all.
    pub kinds: &'static [&'static str],
}

/// Maturity of a feature in Istio's terms.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Any release may change or remove it.
    Alpha,
    /// The feature stays; details may change.
    Beta,
    /// Supported without incompatible changes.
    Stable,
}

/// Whether an annotation is deprecated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Supported.
    Current,
    /// A future release will remove it.
    Deprecated,
}

const fn entry(name: &'static str, status: Status, change: Change, kinds: &'static [&'static str]) -> Annotation {
    Annotation { name, status, change, kinds }
}

static TABLE: &[Annotation] = &[
    entry("alpha.istio.io/canonical-serviceaccounts", Alpha, Deprecated, &["Service"]),
    entry("alpha.istio.io/kubernetes-serviceaccounts", Alpha, Deprecated, &["Service"]),
    entry("ambient.istio.io/bypass-inbound-capture", Alpha, Current, &["Pod"]),
    entry("ambient.istio.io/dns-capture", Alpha, Current, &["Pod"]),
    entry("ambient.istio.io/redirection", Beta, Current, &["Pod"]),
    entry("ambient.istio.io/waypoint-inbound-binding", Alpha, Current, &["GatewayClass", "Gateway"]),
    entry("galley.istio.io/analyze-suppress", Alpha, Current, &["Any"]),
    entry("gateway.istio.io/controller-version", Alpha, Current, &["Any"]),
    entry("gateway.istio.io/name-override", Alpha, Current, &["Gateway"]),
    entry("gateway.istio.io/service-account", Alpha, Current, &["Gateway"]),
    entry("inject.istio.io/templates", Alpha, Current, &["Pod"]),
    entry("istio.io/autoRegistrationGroup", Alpha, Current, &["WorkloadEntry"]),
    entry("istio.io/connectedAt", Alpha, Current, &["WorkloadEntry"]),
    entry("istio.io/disconnectedAt", Alpha, Current, &["WorkloadEntry"]),
    entry("istio.io/dry-run", Alpha, Current, &["AuthorizationPolicy"]),
    entry("istio.io/reroute-virtual-interfaces", Alpha, Current, &["Pod"]),
    entry("istio.io/rev", Alpha, Current, &["Pod"]),
    entry("istio.io/use-waypoint-canary-weight", Alpha, Current, &["Service", "ServiceEntry", "Namespace"]),
    entry("istio.io/workloadController", Alpha, Current, &["WorkloadEntry"]),
    entry("kubernetes.io/ingress.class", Stable, Current, &["Ingress"]),
    entry("networking.istio.io/exportTo", Alpha, Current, &["Service"]),
    entry("networking.istio.io/service-type", Alpha, Current, &["Gateway"]),
    entry("networking.istio.io/traffic-distribution", Alpha, Current, &["Namespace", "Service", "ServiceEntry"]),
    entry("prometheus.istio.io/merge-metrics", Alpha, Current, &["Pod"]),
    entry("proxy.istio.io/config", Beta, Current, &["Pod"]),
    entry("proxy.istio.io/overrides", Alpha, Current, &["Pod"]),
    entry("readiness.status.sidecar.istio.io/applicationPorts", Alpha, Current, &["Pod"]),
    entry("readiness.status.sidecar.istio.io/failureThreshold", Alpha, Current, &["Pod"]),
    entry("readiness.status.sidecar.istio.io/initialDelaySeconds", Alpha, Current, &["Pod"]),
    entry("readiness.status.sidecar.istio.io/periodSeconds", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/agentLogLevel", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/bootstrapOverride", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/componentLogLevel", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/discoveryAddress", Alpha, Deprecated, &["Pod"]),
    entry("sidecar.istio.io/extraStatTags", Alpha, Deprecated, &["Pod"]),
    entry("sidecar.istio.io/inject", Beta, Deprecated, &["Pod"]),
    entry("sidecar.istio.io/interceptionMode", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/logLevel", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/nativeSidecar", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/proxyCPU", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/proxyCPULimit", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/proxyImage", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/proxyImageType", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/proxyMemory", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/proxyMemoryLimit", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/rewriteAppHTTPProbers", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/statsCompression", Alpha, Deprecated, &["Pod"]),
    entry("sidecar.istio.io/statsEvictionInterval", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/statsFlushInterval", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/statsHistogramBins", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/statsHistogramBuckets", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/statsInclusionPrefixes", Alpha, Deprecated, &["Pod"]),
    entry("sidecar.istio.io/statsInclusionRegexps", Alpha, Deprecated, &["Pod"]),
    entry("sidecar.istio.io/statsInclusionSuffixes", Alpha, Deprecated, &["Pod"]),
    entry("sidecar.istio.io/status", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/userVolume", Alpha, Current, &["Pod"]),
    entry("sidecar.istio.io/userVolumeMount", Alpha, Current, &["Pod"]),
    entry("status.sidecar.istio.io/port", Alpha, Current, &["Pod"]),
    entry("topology.istio.io/controlPlaneClusters", Alpha, Current, &["Namespace"]),
    entry("traffic.istio.io/nodeSelector", Stable, Current, &["Service"]),
    entry("traffic.sidecar.istio.io/excludeInboundPorts", Alpha, Current, &["Pod"]),
    entry("traffic.sidecar.istio.io/excludeInterfaces", Alpha, Current, &["Pod"]),
    entry("traffic.sidecar.istio.io/excludeOutboundIPRanges", Alpha, Current, &["Pod"]),
    entry("traffic.sidecar.istio.io/excludeOutboundPorts", Alpha, Current, &["Pod"]),
    entry("traffic.sidecar.istio.io/includeInboundPorts", Alpha, Current, &["Pod"]),
    entry("traffic.sidecar.istio.io/includeOutboundIPRanges", Alpha, Current, &["Pod"]),
    entry("traffic.sidecar.istio.io/includeOutboundPorts", Alpha, Current, &["Pod"]),
    entry("traffic.sidecar.istio.io/kubevirtInterfaces", Alpha, Deprecated, &["Pod"]),
];

/// The annotation with this key.
pub fn find(name: &str) -> Option<&'static Annotation> {
    TABLE.binary_search_by(|entry| entry.name.cmp(name)).ok().map(|at| &TABLE[at])
}

/// Keys of all annotations.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|entry| entry.name)
}

/// Whether the key has a domain that belongs to Istio.
pub fn is_istio(name: &str) -> bool {
    name == "kubernetes.io/ingress.class" || name.split('/').next().is_some_and(|domain| domain.ends_with("istio.io"))
}

/// Annotations that Istio sets itself; they are never reported.
pub const SET_BY_ISTIO: [&str; 3] = ["sidecar.istio.io/status", "gateway.istio.io/controller-version", "istio.io/rev"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotation_table_is_sorted() {
        assert!(TABLE.is_sorted_by(|a, b| a.name < b.name));
        assert!(TABLE.iter().all(|entry| find(entry.name).is_some() && is_istio(entry.name)));
        assert!(find("istio.io/none").is_none() && !is_istio("istio.io.example.com/a") && is_istio("x.istio.io/a"));
    }
}
