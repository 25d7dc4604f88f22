//! Checks which versions are supported together: Istio and Kubernetes, and a control plane and its successor. Pure; the
//! numbers are in `support`.
//!
//! Sources: istio.io "Supported releases" and "Upgrade" pages.

use super::{Finding, Kubernetes, Severity, Version, support};

/// May this Istio be installed on this Kubernetes?
#[must_use]
pub fn check_pair(version: &Version, kubernetes: &Kubernetes) -> Vec<Finding> {
    let minor = version.minor();
    let advice = match support::nearest(kubernetes) {
        Some(nearest) if nearest != minor => format!("; the nearest that was tested with it is Istio 1.{nearest}"),
        _ => String::new(),
    };
    let Some(release) = support::release(version) else {
        let message = format!("Istio {version} is newer than the releases that this worker knows{advice}");
        return vec![Finding::new(Severity::Error, "istio-version", message)];
    };
    let mut found = Vec::new();
    match release.ends {
        Some((first, what)) if kubernetes.minor >= first => found.push(Finding::unforceable(
            "kubernetes-version",
            format!(
                "Istio {version} needs {what}, which Kubernetes serves up to 1.{} only, and this is {kubernetes}{advice}",
                first - 1
            ),
        )),
        _ if kubernetes.minor < release.least => found.push(Finding::new(
            Severity::Error,
            "kubernetes-version",
            format!("Istio {version} needs Kubernetes 1.{} or newer, and this is {kubernetes}{advice}", release.least),
        )),
        _ if !(release.tested.0..=release.tested.1).contains(&kubernetes.minor) => found.push(Finding::new(
            Severity::Error,
            "kubernetes-version",
            format!(
                "Istio {version} was tested with Kubernetes 1.{} to 1.{}, and this is {kubernetes}{advice}",
                release.tested.0, release.tested.1
            ),
        )),
        _ => {}
    }
    if !support::is_published(version) {
        let message = format!(
            "Istio {version} has no Helm charts for this installation: 1.12 is the first version that does{advice}"
        );
        found.push(Finding::unforceable("charts", message));
    } else if !support::is_whole(version) {
        let message =
            format!("Istio {version} is older than the oldest version that this worker is tested with (1.24)");
        found.push(Finding::new(Severity::Warning, "istio-version", message));
    }
    if !support::is_supported(version) {
        let message = format!("Istio {version} is end of life (no longer supported)");
        found.push(Finding::new(Severity::Warning, "istio-version", message));
    }
    found
}

/// How a version takes the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The same revision.
    InPlace,
    /// A revision beside it.
    Canary,
}

/// May `to` replace `from` this way?
#[must_use]
pub fn check_step(from: &Version, to: &Version, way: Way) -> Vec<Finding> {
    let refuse = |message: String| vec![Finding::new(Severity::Error, "skew", message)];
    let (old, new) = (from.minor(), to.minor());
    match way {
        Way::InPlace if new > old + 1 => refuse(format!(
            "in place, Istio goes up by one minor version at a time, and {from} to {to} are {}; upgrade to 1.{} first, or use strategy canary",
            new - old,
            old + 1
        )),
        Way::InPlace if new + 1 < old => refuse(format!(
            "in place, Istio goes down by one minor version at a time, and {from} to {to} are {}",
            old - new
        )),
        Way::Canary if new > old + 2 => refuse(format!(
            "by revision, Istio goes up by at most two minor versions at a time, and {from} to {to} are {}",
            new - old
        )),
        Way::Canary if new < old => {
            refuse(format!("a new revision must not be older than the one it replaces: {from} to {to}"))
        }
        _ if to < from => {
            let message = format!(
                "{to} is older than {from}: proxies that are newer than their control plane are not supported until they restart"
            );
            vec![Finding::new(Severity::Warning, "skew", message)]
        }
        _ => Vec::new(),
    }
}

/// Whether a control plane serves a proxy: the proxy may be one minor version behind, never ahead.
#[must_use]
pub const fn serves(control_plane: &Version, proxy: &Version) -> bool {
    proxy.minor() <= control_plane.minor() && proxy.minor() + 1 >= control_plane.minor()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn worst_finding(version: &str, kubernetes: &str) -> Option<Finding> {
        check_pair(&self::version(version), &kubernetes.parse().unwrap()).into_iter().max_by_key(Finding::rank)
    }

    fn worst(version: &str, kubernetes: &str) -> (Option<Severity>, String) {
        worst_finding(version, kubernetes).map_or((None, String::new()), |it| (Some(it.severity), it.message))
    }

    #[test]
    fn version_skew_follows_the_table() {
        assert_eq!(worst("1.30.3", "v1.34.4").0, None);
        assert_eq!(worst("1.28.10", "v1.34.4").0, Some(Severity::Warning));
        let (severity, message) = worst("1.24.6", "v1.34.4");
        assert_eq!(severity, Some(Severity::Error));
        assert!(message.contains("1.28 to 1.31") && message.contains("Istio 1.31"), "{message}");
        assert_eq!(worst("1.30.3", "v1.31.0").0, Some(Severity::Error));
        assert_eq!(worst("1.99.0", "v1.34.4").0, Some(Severity::Error));
    }

    #[test]
    fn version_that_needs_a_removed_api_is_refused_also_with_force() {
        for version in ["1.5.10", "1.9.9", "1.13.2"] {
            let worst = worst_finding(version, "v1.34.4").unwrap();
            assert!(worst.refuses(true), "{version}");
            assert!(worst.message.contains("Istio 1.31"), "{}", worst.message);
        }
        assert_eq!(worst("1.13.2", "v1.23.0").0, Some(Severity::Warning));
        assert!(worst_finding("1.5.10", "v1.15.0").unwrap().refuses(true), "it has no charts");
    }

    #[test]
    fn steps_are_one_minor_in_place_and_two_by_revision() {
        let table = [
            ("1.28.10", "1.29.0", Way::InPlace, None),
            ("1.28.10", "1.30.3", Way::InPlace, Some(Severity::Error)),
            ("1.28.10", "1.30.3", Way::Canary, None),
            ("1.24.6", "1.28.10", Way::Canary, Some(Severity::Error)),
            ("1.30.3", "1.29.1", Way::InPlace, Some(Severity::Warning)),
            ("1.30.3", "1.28.1", Way::InPlace, Some(Severity::Error)),
            ("1.30.3", "1.28.1", Way::Canary, Some(Severity::Error)),
            ("1.30.3", "1.30.3", Way::InPlace, None),
        ];
        for (from, to, way, wanted) in table {
            let found = check_step(&version(from), &version(to), way);
            assert_eq!(found.first().map(|it| it.severity), wanted, "{from} to {to} {way:?}");
        }
    }

    #[test]
    fn proxy_newer_than_its_control_plane_is_reported() {
        assert!(serves(&version("1.30.3"), &version("1.29.0")) && serves(&version("1.30.3"), &version("1.30.9")));
        assert!(!serves(&version("1.30.3"), &version("1.31.0")) && !serves(&version("1.30.3"), &version("1.28.0")));
    }
}
