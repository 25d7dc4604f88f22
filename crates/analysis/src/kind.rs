//! The kinds that rules use. Objects of other kinds are counted and skipped when they are read.

use std::fmt;

macro_rules! kinds {
    ($( $name:ident $group:literal $kind:literal $plural:literal $versions:tt $scope:ident; )+) => {
        /// A kind that at least one rule uses.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "named as in Kubernetes")]
        #[repr(u8)]
        pub enum Kind { $( $name, )+ }

        impl Kind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )+ ];

            /// Kind as in manifests.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $( Self::$name => $kind, )+ } }

            /// API group; empty for the core group.
            #[must_use]
            pub const fn group(self) -> &'static str { match self { $( Self::$name => $group, )+ } }

            /// Plural resource name in URLs.
            #[must_use]
            pub const fn plural(self) -> &'static str { match self { $( Self::$name => $plural, )+ } }

            /// Supported versions, the preferred one first.
            #[must_use]
            pub const fn versions(self) -> &'static [&'static str] { match self { $( Self::$name => &$versions, )+ } }

            /// Whether the kind is namespaced.
            #[must_use]
            pub const fn is_namespaced(self) -> bool { match self { $( Self::$name => kinds!(@ $scope), )+ } }

            /// The kind of this group and name, if a rule uses it.
            #[must_use]
            pub fn find(group: &str, kind: &str) -> Option<Self> {
                match (kind, group) { $( ($kind, $group) => Some(Self::$name), )+ _ => None }
            }
        }
    };
    (@ namespaced) => { true };
    (@ cluster) => { false };
}

kinds! {
    // Kubernetes.
    Namespace "" "Namespace" "namespaces" ["v1"] cluster;
    Node "" "Node" "nodes" ["v1"] cluster;
    Pod "" "Pod" "pods" ["v1"] namespaced;
    Service "" "Service" "services" ["v1"] namespaced;
    ServiceAccount "" "ServiceAccount" "serviceaccounts" ["v1"] namespaced;
    ConfigMap "" "ConfigMap" "configmaps" ["v1"] namespaced;
    Secret "" "Secret" "secrets" ["v1"] namespaced;
    Deployment "apps" "Deployment" "deployments" ["v1"] namespaced;
    StatefulSet "apps" "StatefulSet" "statefulsets" ["v1"] namespaced;
    DaemonSet "apps" "DaemonSet" "daemonsets" ["v1"] namespaced;
    Job "batch" "Job" "jobs" ["v1"] namespaced;
    CronJob "batch" "CronJob" "cronjobs" ["v1"] namespaced;
    HorizontalPodAutoscaler "autoscaling" "HorizontalPodAutoscaler" "horizontalpodautoscalers" ["v2"] namespaced;
    PodDisruptionBudget "policy" "PodDisruptionBudget" "poddisruptionbudgets" ["v1"] namespaced;
    Ingress "networking.k8s.io" "Ingress" "ingresses" ["v1"] namespaced;
    NetworkPolicy "networking.k8s.io" "NetworkPolicy" "networkpolicies" ["v1"] namespaced;
    Role "rbac.authorization.k8s.io" "Role" "roles" ["v1"] namespaced;
    RoleBinding "rbac.authorization.k8s.io" "RoleBinding" "rolebindings" ["v1"] namespaced;
    ClusterRole "rbac.authorization.k8s.io" "ClusterRole" "clusterroles" ["v1"] cluster;
    ClusterRoleBinding "rbac.authorization.k8s.io" "ClusterRoleBinding" "clusterrolebindings" ["v1"] cluster;
    MutatingWebhookConfiguration "admissionregistration.k8s.io" "MutatingWebhookConfiguration" "mutatingwebhookconfigurations" ["v1"] cluster;
    ValidatingWebhookConfiguration "admissionregistration.k8s.io" "ValidatingWebhookConfiguration" "validatingwebhookconfigurations" ["v1"] cluster;
    CustomResourceDefinition "apiextensions.k8s.io" "CustomResourceDefinition" "customresourcedefinitions" ["v1"] cluster;
    // Istio.
    VirtualService "networking.istio.io" "VirtualService" "virtualservices" ["v1", "v1beta1", "v1alpha3"] namespaced;
    DestinationRule "networking.istio.io" "DestinationRule" "destinationrules" ["v1", "v1beta1", "v1alpha3"] namespaced;
    Gateway "networking.istio.io" "Gateway" "gateways" ["v1", "v1beta1", "v1alpha3"] namespaced;
    ServiceEntry "networking.istio.io" "ServiceEntry" "serviceentries" ["v1", "v1beta1", "v1alpha3"] namespaced;
    Sidecar "networking.istio.io" "Sidecar" "sidecars" ["v1", "v1beta1", "v1alpha3"] namespaced;
    EnvoyFilter "networking.istio.io" "EnvoyFilter" "envoyfilters" ["v1alpha3"] namespaced;
    WorkloadEntry "networking.istio.io" "WorkloadEntry" "workloadentries" ["v1", "v1beta1", "v1alpha3"] namespaced;
    WorkloadGroup "networking.istio.io" "WorkloadGroup" "workloadgroups" ["v1", "v1beta1", "v1alpha3"] namespaced;
    ProxyConfig "networking.istio.io" "ProxyConfig" "proxyconfigs" ["v1beta1"] namespaced;
    AuthorizationPolicy "security.istio.io" "AuthorizationPolicy" "authorizationpolicies" ["v1", "v1beta1"] namespaced;
    PeerAuthentication "security.istio.io" "PeerAuthentication" "peerauthentications" ["v1", "v1beta1"] namespaced;
    RequestAuthentication "security.istio.io" "RequestAuthentication" "requestauthentications" ["v1", "v1beta1"] namespaced;
    Telemetry "telemetry.istio.io" "Telemetry" "telemetries" ["v1", "v1alpha1"] namespaced;
    WasmPlugin "extensions.istio.io" "WasmPlugin" "wasmplugins" ["v1alpha1"] namespaced;
    TrafficExtension "extensions.istio.io" "TrafficExtension" "trafficextensions" ["v1alpha1"] namespaced;
    // Gateway API. Its Gateway has a name of its own here, because `Gateway` is Istio's.
    GatewayClass "gateway.networking.k8s.io" "GatewayClass" "gatewayclasses" ["v1", "v1beta1"] cluster;
    KubernetesGateway "gateway.networking.k8s.io" "Gateway" "gateways" ["v1", "v1beta1"] namespaced;
    HttpRoute "gateway.networking.k8s.io" "HTTPRoute" "httproutes" ["v1", "v1beta1"] namespaced;
    GrpcRoute "gateway.networking.k8s.io" "GRPCRoute" "grpcroutes" ["v1"] namespaced;
    TlsRoute "gateway.networking.k8s.io" "TLSRoute" "tlsroutes" ["v1", "v1alpha3", "v1alpha2"] namespaced;
    TcpRoute "gateway.networking.k8s.io" "TCPRoute" "tcproutes" ["v1", "v1alpha2"] namespaced;
    UdpRoute "gateway.networking.k8s.io" "UDPRoute" "udproutes" ["v1", "v1alpha2"] namespaced;
    ListenerSet "gateway.networking.k8s.io" "ListenerSet" "listenersets" ["v1"] namespaced;
    ReferenceGrant "gateway.networking.k8s.io" "ReferenceGrant" "referencegrants" ["v1", "v1beta1"] namespaced;
    BackendTlsPolicy "gateway.networking.k8s.io" "BackendTLSPolicy" "backendtlspolicies" ["v1", "v1alpha3"] namespaced;
    // Settings that Istio's analyzers treat as objects although no API serves them.
    MeshConfig "" "MeshConfig" "meshconfigs" ["v1"] namespaced;
    MeshNetworks "" "MeshNetworks" "meshnetworks" ["v1"] namespaced;
    // Objects of a kind that their group does not have, and what a controller may make; see `generated.rs`.
    Unknown "analysis.sailhand.internal" "UnknownKind" "unknownkinds" ["v1"] namespaced;
    Generator "analysis.sailhand.internal" "Generator" "generators" ["v1"] namespaced;
}

impl Kind {
    /// Number of kinds.
    pub const COUNT: usize = Self::ALL.len();

    /// Position in [`Kind::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether it is a kind of Istio, for which `istio.io/rev` selects the control plane.
    #[must_use]
    pub fn is_istio(self) -> bool {
        self.group().ends_with("istio.io")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_resolve_by_group_and_name() {
        for (index, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(Kind::find(kind.group(), kind.name()), Some(*kind));
            assert_eq!(kind.index(), index);
        }
        assert_eq!(Kind::find("networking.istio.io", "Gateway"), Some(Kind::Gateway));
        assert_eq!(Kind::find("gateway.networking.k8s.io", "Gateway"), Some(Kind::KubernetesGateway));
        assert_eq!(Kind::find("serving.knative.dev", "Service"), None);
    }
}
