//! Each minor version of Istio: which Kubernetes it goes with, and what its charts need. Facts only; who breaks a rule
//! is judged in `skew`.
//!
//! Sources: istio.io `data/compatibility/supportStatus.yml`; `istioctl/pkg/install/k8sversion/version.go` and
//! `manifests/charts` of each version's tag.

use super::{Kubernetes, Version};

/// One minor version.
#[derive(Debug, Clone, Copy)]
pub struct Release {
    /// The `30` of 1.30.
    pub minor: u64,
    /// The lowest Kubernetes minor that its code accepts.
    pub least: u64,
    /// The Kubernetes minors that its makers have tested.
    pub tested: (u64, u64),
    /// The first Kubernetes minor that no longer serves what its charts need, and what that is.
    pub ends: Option<(u64, &'static str)>,
    /// The version of the Gateway API it was made for, where one is named.
    pub gateway_api: Option<&'static str>,
}

const HOOKS: (u64, &str) = (22, "admissionregistration.k8s.io/v1beta1 and apiextensions.k8s.io/v1beta1");
const BUDGETS: (u64, &str) = (25, "policy/v1beta1 and autoscaling/v2beta1");

const fn row(minor: u64, least: u64, tested: (u64, u64)) -> Release {
    let ends = match minor {
        ..=9 => Some(HOOKS),
        10..=13 => Some(BUDGETS),
        _ => None,
    };
    let gateway_api = match minor {
        24 => Some("v1.2.1"),
        28 | 29 => Some("v1.4.1"),
        30 => Some("v1.5.1"),
        31 => Some("v1.6.0"),
        _ => None,
    };
    Release { minor, least, tested, ends, gateway_api }
}

/// Oldest first, without gaps.
const RELEASES: [Release; 27] = [
    row(5, 13, (14, 16)),
    row(6, 15, (15, 18)),
    row(7, 16, (16, 18)),
    row(8, 16, (16, 19)),
    row(9, 17, (17, 20)),
    row(10, 17, (18, 21)),
    row(11, 17, (18, 22)),
    row(12, 17, (19, 22)),
    row(13, 19, (20, 23)),
    row(14, 19, (21, 24)),
    row(15, 19, (22, 25)),
    row(16, 22, (22, 25)),
    row(17, 23, (23, 26)),
    row(18, 24, (24, 27)),
    row(19, 25, (25, 28)),
    row(20, 25, (25, 29)),
    row(21, 26, (26, 29)),
    row(22, 26, (27, 30)),
    row(23, 26, (27, 30)),
    row(24, 28, (28, 31)),
    row(25, 29, (29, 32)),
    row(26, 29, (29, 33)),
    row(27, 29, (29, 33)),
    row(28, 30, (30, 34)),
    row(29, 30, (31, 35)),
    row(30, 32, (32, 36)),
    row(31, 32, (32, 36)),
];

/// The oldest minor version that the Istio project supported when this worker was built.
const MENDED: u64 = 30;
/// The first minor with charts in the public repository.
const PUBLISHED: u64 = 12;
/// The first minor of which the whole life cycle is tested here; older ones are rendered as well as they can be.
const WHOLE: u64 = 24;

/// The facts of a version, or `None` for one that is newer than this worker.
#[must_use]
pub fn release(version: &Version) -> Option<&'static Release> {
    RELEASES.iter().find(|release| release.minor == version.minor())
}

/// The newest minor that was tested with this Kubernetes.
#[must_use]
pub fn nearest(kubernetes: &Kubernetes) -> Option<u64> {
    let fits = |it: &&Release| (it.tested.0..=it.tested.1).contains(&kubernetes.minor);
    RELEASES.iter().rev().find(fits).map(|release| release.minor)
}

/// Whether the Istio project supported this version when this worker was built.
#[must_use]
pub const fn is_supported(version: &Version) -> bool {
    version.minor() >= MENDED
}

/// Whether it has charts of its own that a repository holds.
#[must_use]
pub const fn is_published(version: &Version) -> bool {
    version.minor() >= PUBLISHED
}

/// Whether every verb is tested with it.
#[must_use]
pub const fn is_whole(version: &Version) -> bool {
    version.minor() >= WHOLE
}

/// Default registry of its images.
#[must_use]
pub const fn hub(version: &Version) -> &'static str {
    if version.minor() >= 30 { "registry.istio.io/release" } else { "docker.io/istio" }
}

/// Whether Helm's check of the gateway chart's values has to be left out: its schema refuses the chart's own defaults
/// (istio/istio#57354).
#[must_use]
pub const fn has_wrong_schema(version: &Version) -> bool {
    match version.minor() {
        21..=24 => true,
        25 => version.patch() < 5,
        26 => version.patch() < 4,
        27 => version.patch() < 1,
        _ => false,
    }
}

/// Whether its charts take Helm profiles by the value `profile`.
#[must_use]
pub const fn has_chart_profiles(version: &Version) -> bool {
    version.minor() >= 21
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn kubernetes(minor: u64) -> Kubernetes {
        format!("v1.{minor}.0").parse().unwrap()
    }

    #[test]
    fn the_table_has_no_gap_and_each_range_begins_where_the_code_allows_it() {
        for (number, release) in RELEASES.iter().enumerate() {
            assert_eq!(release.minor, 5 + number as u64);
            assert!(release.least <= release.tested.0 && release.tested.0 <= release.tested.1, "1.{}", release.minor);
            assert!(
                release
                    .ends
                    .is_none_or(|(first, _)| first > release.tested.1 || release.minor == 11 || release.minor == 12)
            );
        }
    }

    #[test]
    fn the_nearest_version_fits_the_cluster() {
        assert_eq!(nearest(&kubernetes(34)), Some(31));
        assert_eq!(nearest(&kubernetes(31)), Some(29));
        assert_eq!(nearest(&kubernetes(21)), Some(14));
        assert_eq!(nearest(&kubernetes(12)), None);
    }

    #[test]
    fn the_schema_defect_is_known_by_patch() {
        let table = [("1.20.8", false), ("1.24.6", true), ("1.25.4", true), ("1.25.5", false), ("1.26.3", true)];
        for (text, wrong) in table.into_iter().chain([("1.26.4", false), ("1.27.0", true), ("1.28.10", false)]) {
            assert_eq!(has_wrong_schema(&version(text)), wrong, "{text}");
        }
        assert_eq!(
            (hub(&version("1.29.2")), hub(&version("1.30.0"))),
            ("docker.io/istio", "registry.istio.io/release")
        );
    }
}
