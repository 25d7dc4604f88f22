//! In which order kinds are written and, backwards, deleted. Pure.

/// What is written together. The order of the variants is the order of writing; deleting goes backwards, so that
/// webhooks go before what answers them and namespaces last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Phase {
    Namespaces,
    Definitions,
    Classes,
    Accounts,
    Roles,
    Bindings,
    Settings,
    Volumes,
    Services,
    Workloads,
    Scaling,
    OtherBuiltin,
    Custom,
    Routes,
    Webhooks,
}

impl Phase {
    /// The phase of a kind.
    pub fn of(group: &str, kind: &str) -> Self {
        match (group, kind) {
            ("", "Namespace") => Self::Namespaces,
            ("apiextensions.k8s.io", _) => Self::Definitions,
            ("admissionregistration.k8s.io", _) => Self::Webhooks,
            // A route to a subset that proxies do not have returns 503.
            ("networking.istio.io", "VirtualService") => Self::Routes,
            ("gateway.networking.k8s.io", _) if kind.ends_with("Route") => Self::Routes,
            _ if kind.ends_with("Class") => Self::Classes,
            _ if !builtin(group) => Self::Custom,
            (_, "ServiceAccount") => Self::Accounts,
            (_, "Role" | "ClusterRole") => Self::Roles,
            (_, "RoleBinding" | "ClusterRoleBinding") => Self::Bindings,
            (_, "ConfigMap" | "Secret" | "LimitRange" | "ResourceQuota" | "NetworkPolicy") => Self::Settings,
            (_, "PersistentVolume" | "PersistentVolumeClaim") => Self::Volumes,
            (_, "Service") => Self::Services,
            ("apps" | "batch", _) | (_, "Pod" | "ReplicationController") => Self::Workloads,
            (_, "HorizontalPodAutoscaler" | "PodDisruptionBudget") => Self::Scaling,
            _ => Self::OtherBuiltin,
        }
    }
}

/// Groups that a bare API server serves. The suffix `k8s.io` does not decide: the Gateway API is made of CRDs.
pub(super) fn builtin(group: &str) -> bool {
    matches!(
        group,
        "" | "apps"
            | "batch"
            | "autoscaling"
            | "policy"
            | "apiregistration.k8s.io"
            | "authentication.k8s.io"
            | "authorization.k8s.io"
            | "certificates.k8s.io"
            | "coordination.k8s.io"
            | "discovery.k8s.io"
            | "events.k8s.io"
            | "flowcontrol.apiserver.k8s.io"
            | "networking.k8s.io"
            | "node.k8s.io"
            | "rbac.authorization.k8s.io"
            | "resource.k8s.io"
            | "scheduling.k8s.io"
            | "storage.k8s.io"
    )
}

/// Kinds that contain data or objects of others: never pruned and never recreated, with any options.
pub(super) fn never_recreated(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        ("", "Namespace" | "PersistentVolumeClaim") | ("apiextensions.k8s.io", "CustomResourceDefinition")
    )
}

/// Whether controllers create objects that an object of this kind owns, which have to be deleted before the object is
/// created again. The kinds of others may have some.
pub(super) fn may_own(group: &str, kind: &str) -> bool {
    match Phase::of(group, kind) {
        Phase::Workloads => !matches!(kind, "Pod" | "ControllerRevision"),
        Phase::Custom | Phase::Routes => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_applied_first_and_webhooks_last() {
        let wanted = [
            ("", "Namespace"),
            ("apiextensions.k8s.io", "CustomResourceDefinition"),
            ("gateway.networking.k8s.io", "GatewayClass"),
            ("", "ServiceAccount"),
            ("rbac.authorization.k8s.io", "ClusterRole"),
            ("rbac.authorization.k8s.io", "RoleBinding"),
            ("", "Secret"),
            ("", "PersistentVolumeClaim"),
            ("", "Service"),
            ("apps", "Deployment"),
            ("autoscaling", "HorizontalPodAutoscaler"),
            ("networking.k8s.io", "Ingress"),
            ("networking.istio.io", "DestinationRule"),
            ("networking.istio.io", "VirtualService"),
            ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ];
        let phases: Vec<_> = wanted.iter().map(|(group, kind)| Phase::of(group, kind)).collect();
        assert!(phases.is_sorted_by(|a, b| a < b), "{phases:?}");
    }

    #[test]
    fn a_custom_kind_named_like_a_builtin_one_is_custom() {
        assert_eq!(Phase::of("serving.knative.dev", "Service"), Phase::Custom);
        assert_eq!(Phase::of("gateway.networking.k8s.io", "Gateway"), Phase::Custom);
    }

    #[test]
    fn workloads_and_custom_objects_may_own_others() {
        for (group, kind) in [("apps", "Deployment"), ("batch", "Job"), ("serving.knative.dev", "Service")] {
            assert!(may_own(group, kind), "{kind}");
        }
        for (group, kind) in
            [("", "PersistentVolume"), ("", "Pod"), ("", "Service"), ("storage.k8s.io", "StorageClass")]
        {
            assert!(!may_own(group, kind), "{kind}");
        }
    }
}
