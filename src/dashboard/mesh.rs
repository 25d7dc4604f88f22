//! What the newest `mesh.status` of a target reports: versions, revisions, owners and drift.

use maud::{Markup, html};
use serde::Deserialize;

use super::index::Run;
use super::page;
use crate::prose::plural;

/// Maximum number of control planes of a target that are shown.
const ROWS: usize = 10;

/// Fields of the report of `mesh.status` that the page shows. Unknown fields of a newer worker are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Mesh {
    kubernetes: String,
    control_planes: Vec<ControlPlane>,
    parts: Vec<Part>,
    proxies: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ControlPlane {
    revision: String,
    version: Option<String>,
    installed_by: String,
    ready: bool,
    supported: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Part {
    drift: Vec<serde::de::IgnoredAny>,
}

/// The control planes, and which run reported them.
pub(super) fn render(mesh: &Mesh, run: &Run) -> Markup {
    let drift: usize = mesh.parts.iter().map(|part| part.drift.len()).sum();
    html! {
        @if mesh.control_planes.is_empty() { span.quiet { "no control plane" } }
        ul.plain { @for plane in mesh.control_planes.iter().take(ROWS) { li {
            (page::badge(if plane.ready { "ready" } else { "not ready" })) " "
            strong { "Istio " (plane.version.as_deref().unwrap_or("of unknown version")) }
            @if !plane.supported { " " span.changed { "(not supported)" } }
            " " span.quiet { "revision " (plane.revision) ", installed by " (plane.installed_by) }
        } } }
        @if mesh.control_planes.len() > ROWS { p.quiet { (mesh.control_planes.len() - ROWS) " more" } }
        @if drift > 0 { p { span.changed { "Drift: " (plural(drift, "object")) } } }
        p.quiet {
            @if !mesh.kubernetes.is_empty() { "Kubernetes " (mesh.kubernetes) ", " }
            (mesh.proxies) (if mesh.proxies == 1 { " proxy, " } else { " proxies, " })
            a href={ "/runs/" (run.key) } { "status" } " " (page::moment(run.changed))
        }
    }
}
