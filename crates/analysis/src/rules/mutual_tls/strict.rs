//! Checks for workloads that accept plaintext traffic. Source: istio.io, security best practices, "Mutual TLS".

use super::mode::{self, Mode};
use crate::rules::support::completeness::is_whole_cluster;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

/// Checks the mesh-wide mode.
pub static RULE: Rule = Rule {
    name: "mutual_tls.StrictMesh",
    codes: &[&SH7201],
    inputs: &[Kind::PeerAuthentication, Kind::MeshConfig, Kind::Namespace, Kind::Deployment],
    check: Check::Once(check_mesh),
};

/// Checks each policy.
pub static POLICIES: Rule = Rule {
    name: "mutual_tls.Strict",
    codes: &[&SH7202],
    inputs: &[Kind::PeerAuthentication, Kind::Namespace],
    check: Check::Each(&[Kind::PeerAuthentication], check_policy),
};

static SH7201: Code = Code {
    id: "SH7201",
    name: "MutualTlsNotStrict",
    level: Level::Info,
    title: "Mutual TLS is not STRICT for the mesh",
    why: "Istio's default PERMISSIVE mode accepts plaintext as well as mutual TLS, for the time of the migration. \
          Until it is changed, any client that reaches a pod can connect unencrypted and without an identity.",
    remedy: "Once all clients are in the mesh, create a PeerAuthentication named default with mode STRICT in the root \
             namespace.",
    source: "https://istio.io/latest/docs/ops/best-practices/security/#mutual-tls",
    example: Example {
        before: "\
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
",
        after: "\
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
",
    },
    also: &[],
};

static SH7202: Code = Code {
    id: "SH7202",
    name: "MutualTlsDisabled",
    level: Level::Warning,
    title: "PeerAuthentication disables mutual TLS",
    why: "The servers accept only plaintext: traffic is not encrypted, clients have no identity, and policies that \
          match principals or namespaces cannot match.",
    remedy: "Use STRICT, or PERMISSIVE while some clients have no proxy. For a single port with plaintext clients, \
             PERMISSIVE on that port is enough.",
    source: "https://istio.io/latest/docs/ops/best-practices/security/#mutual-tls",
    example: Example {
        before: "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: DISABLE}}
",
        after: "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
",
    },
    also: &[],
};

fn check_mesh(view: &View<'_>, findings: &mut Findings) {
    let in_force = mode::of_mesh(view);
    let root = view.root_namespace();
    let Some(mesh) = view.all(Kind::MeshConfig).first() else { return };
    match (in_force.mode, in_force.policy) {
        (Mode::Permissive, Some(policy)) => {
            let message = format!("{} accepts plaintext traffic in the whole mesh", policy.name);
            findings.add(&SH7201, policy, message).field("spec.mtls.mode");
        }
        (Mode::Permissive, None) if is_whole_cluster(view) => {
            let message = format!(
                "no PeerAuthentication in {root} sets a mode, and the default accepts plaintext \
                                   traffic"
            );
            findings.add(&SH7201, mesh, message).arguments([root]);
        }
        // The other rule reports `DISABLE`.
        _ => {}
    }
}

fn check_policy(view: &View<'_>, policy: &Resource, findings: &mut Findings) {
    // In an ambient namespace it is ignored, which SH7159 reports.
    if view.mode_of(policy).is_ambient() {
        return;
    }
    if Mode::read(&policy.spec()["mtls"]) == Some(Mode::Disable) {
        let who = if mode::is_for_namespace(policy) { "the namespace" } else { "the workloads it selects" };
        let message = format!("{} disables mutual TLS for {who}", policy.name);
        findings.add(&SH7202, policy, message).field("spec.mtls.mode");
    }
    for (port, mtls) in policy.spec()["portLevelMtls"].entries() {
        if Mode::read(mtls) == Some(Mode::Disable) {
            let message = format!("{} disables mutual TLS for port {port}", policy.name);
            findings
                .add(&SH7202, policy, message)
                .level(Level::Info)
                .field(format!("spec.portLevelMtls.{port}.mode"))
                .arguments([port.as_str()]);
        }
    }
}
