//! Checks the permissions of a cluster's credentials with `SelfSubjectAccessReview`. Does not write.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;

use super::{Cluster, Error};

/// A request that a task sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// Verb of the API, such as `patch`.
    pub verb: &'static str,
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural name of the resource.
    pub resource: &'static str,
    /// Verbs of commands that need it, for people.
    pub needed_by: &'static str,
}

/// The rights that most commands need.
pub const USUAL: &[Right] = &[
    right("patch", "", "configmaps", "all commands that write: the inventory is a ConfigMap"),
    right("create", "", "namespaces", "config.apply with create_namespace, and the first inventory"),
    right("list", "", "pods", "config.analyze, traffic.apply and mesh.status"),
    right("patch", "apps", "deployments", "mesh.install, sample.deploy and addon.apply"),
    right("patch", "networking.istio.io", "virtualservices", "traffic.apply"),
    right("patch", "security.istio.io", "authorizationpolicies", "policy.apply"),
    right("create", "apiextensions.k8s.io", "customresourcedefinitions", "mesh.install"),
    right("create", "rbac.authorization.k8s.io", "clusterroles", "mesh.install"),
    right("patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "mesh.install"),
];

const fn right(verb: &'static str, group: &'static str, resource: &'static str, needed_by: &'static str) -> Right {
    Right { verb, group, resource, needed_by }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

impl Cluster {
    /// Whether the credentials allow a request in all namespaces.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub async fn may(&self, right: &Right) -> Result<bool, Error> {
        let attributes = ResourceAttributes {
            verb: Some(right.verb.to_owned()),
            group: Some(right.group.to_owned()),
            resource: Some(right.resource.to_owned()),
            ..ResourceAttributes::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
            ..SelfSubjectAccessReview::default()
        };
        let ask = |client| {
            let review = &review;
            async move { Api::<SelfSubjectAccessReview>::all(client).create(&PostParams::default(), review).await }
        };
        let answer = self.call("create", &"a SelfSubjectAccessReview", ask).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}
