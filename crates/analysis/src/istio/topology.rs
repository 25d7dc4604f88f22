//! Labels with the place of a workload in a mesh of several clusters. Source: istio/api `label/labels.yaml`.

/// Label of a workload with the name of its cluster.
pub const CLUSTER: &str = "topology.istio.io/cluster";
/// Label of a root namespace, a gateway's Service or a workload with the name of its network.
pub const NETWORK: &str = "topology.istio.io/network";
