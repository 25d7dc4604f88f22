//! The ports that Istio uses. Sources: istio.io, "Application Requirements", "Ports used by Istio"; istio
//! `manifests/charts/istio-control/istio-discovery/files/injection-template.yaml`, `manifests/charts/ztunnel`.

/// HBONE of ztunnel and waypoints.
pub const HBONE: u16 = 15008;
/// Metrics of istiod and of the CNI plugin.
pub const CONTROL_PLANE_METRICS: u16 = 15014;
/// Metrics of the agent, merged with those of Envoy and of the application; metrics of ztunnel. The injector writes it as
/// the annotation `prometheus.io/port`.
pub const MERGED_METRICS: u16 = 15020;
/// Health checks of a proxy.
pub const HEALTH: u16 = 15021;
/// Metrics of Envoy alone; the container port [`ENVOY_METRICS_NAME`].
pub const ENVOY_METRICS: u16 = 15090;
/// Name of the container port [`ENVOY_METRICS`] of sidecars, gateways and waypoints.
pub const ENVOY_METRICS_NAME: &str = "http-envoy-prom";

/// Ports of a proxy's metrics, which are plaintext also under STRICT mTLS.
pub const PROXY_METRICS: [u16; 2] = [MERGED_METRICS, ENVOY_METRICS];

/// Ports that a container beside a sidecar cannot use. Without those that only the control plane uses.
pub const RESERVED: [u16; 9] = [15000, 15001, 15004, 15006, HBONE, MERGED_METRICS, HEALTH, 15053, ENVOY_METRICS];

/// Whether Istio serves its own metrics at this port, in a proxy, ztunnel or istiod.
#[must_use]
pub fn is_metrics(port: u16) -> bool {
    port == CONTROL_PLANE_METRICS || PROXY_METRICS.contains(&port)
}
