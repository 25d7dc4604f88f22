//! Computes the effective mutual TLS mode. Source: istio `pilot/pkg/model/authentication.go`: mesh, then namespace,
//! then workload, then port; the oldest policy wins within a level; `UNSET` inherits the level above.

use std::sync::Arc;

use crate::{Kind, Resource, Selector, Value, View};

/// The effective mode and the policy that sets it; no policy for Istio's default.
#[derive(Debug, Clone, Copy)]
pub struct EffectiveMode<'a> {
    pub mode: Mode,
    pub policy: Option<&'a Resource>,
}

/// Traffic that a server accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Plaintext only.
    Disable,
    /// Plaintext and mutual TLS.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

impl Mode {
    /// None if the mode inherits the level above.
    pub fn read(mtls: &Value) -> Option<Self> {
        match mtls["mode"].text() {
            "DISABLE" => Some(Self::Disable),
            "PERMISSIVE" => Some(Self::Permissive),
            "STRICT" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// Whether a policy has no selector and applies to its whole namespace.
pub fn is_for_namespace(policy: &Resource) -> bool {
    policy.spec().at("selector.matchLabels").is_empty()
}

/// Creation time; empty for objects from files, which have none.
fn age(policy: &Arc<Resource>) -> (&str, &str) {
    (policy.root.at("metadata.creationTimestamp").text(), &policy.name)
}

/// Mode of the namespace-wide policy.
fn mode_set_in<'a>(view: &View<'a>, namespace: &str) -> Option<EffectiveMode<'a>> {
    let policies = view.in_namespace(Kind::PeerAuthentication, namespace);
    let policy = policies.iter().filter(|policy| is_for_namespace(policy)).min_by_key(|policy| age(policy))?;
    Mode::read(&policy.spec()["mtls"]).map(|mode| EffectiveMode { mode, policy: Some(policy) })
}

/// Effective mode of the mesh.
pub fn of_mesh<'a>(view: &View<'a>) -> EffectiveMode<'a> {
    mode_set_in(view, view.root_namespace()).unwrap_or(EffectiveMode { mode: Mode::Permissive, policy: None })
}

/// Effective mode of a namespace, for workloads without a policy of their own.
pub fn of_namespace<'a>(view: &View<'a>, namespace: &str) -> EffectiveMode<'a> {
    mode_set_in(view, namespace).unwrap_or_else(|| of_mesh(view))
}

/// Effective mode of pods with at least these labels, on one of their ports if it is known.
pub fn of_workload<'a>(
    view: &View<'a>,
    namespace: &str,
    labels: &Selector<'_>,
    port: Option<i64>,
) -> EffectiveMode<'a> {
    let own = view
        .in_namespace(Kind::PeerAuthentication, namespace)
        .iter()
        .filter(|policy| !is_for_namespace(policy))
        .filter(|policy| labels.is_within(&Selector::new(policy.spec().at("selector.matchLabels"))))
        .min_by_key(|policy| age(policy));
    let Some(own) = own else { return of_namespace(view, namespace) };
    let of_port = port.and_then(|port| {
        let (_, mtls) = own.spec()["portLevelMtls"].entries().iter().find(|(key, _)| key.parse() == Ok(port))?;
        Mode::read(mtls)
    });
    of_port
        .or_else(|| Mode::read(&own.spec()["mtls"]))
        .map_or_else(|| of_namespace(view, namespace), |mode| EffectiveMode { mode, policy: Some(own) })
}
