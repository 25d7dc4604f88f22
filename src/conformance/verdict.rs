//! Verdicts from the results of cases. Capability (how much works) and compliance (whether what works follows the
//! specification) are computed separately. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::model::{
    Capability, CaseKind, CaseResult, Compliance, Counts, FeatureState, Legacy, LegacyDetail, SpecResult, Status,
    Summary,
};
use super::suite::{Case, Spec, Suite, SuiteKind};

/// What an implementation declares about its features. A feature in neither list is judged by what is observed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Features declared as supported.
    pub supported: BTreeSet<&'static str>,
    /// Features declared as unsupported, with the reason; their cases are not run.
    pub unsupported: BTreeMap<&'static str, &'static str>,
}

impl Profile {
    /// What `sailhand smi-controller` declares for Istio. Regular expressions of paths and headers depend on their text
    /// and are judged case by case. In ambient mode everything above layer 4 needs a waypoint and is not declared.
    #[must_use]
    pub fn of_smi_controller(data_plane: &str) -> Self {
        let mut supported: BTreeSet<_> = [
            "default_deny",
            "allow_identity",
            "revoke",
            "deny_other_source",
            "tcp_ports",
            "additive",
            "cross_namespace_source",
        ]
        .into();
        if data_plane == "sidecar" {
            supported.extend(["path", "method", "matches_omitted", "route_update", "header_exact"]);
            supported.extend(["all_or_nothing", "weighted", "ratio", "zero_weight", "matches", "port_mismatch"]);
            supported.extend(["missing_backend", "delete_split", "default_balance"]);
        }
        let unsupported =
            [("udp_route", "Istio does not proxy UDP"), ("metrics", "the metrics API is not served")].into();
        Self { supported, unsupported }
    }
}

/// Verdict on each specification of the suite. `all` are the cases of the whole suite, also those that were not
/// selected: what was not tested is never counted as working.
#[must_use]
pub fn specs(suite: &Suite, all: &[Case], results: &[CaseResult], profile: &Profile) -> Vec<SpecResult> {
    suite.specs.iter().map(|spec| judge(spec, all, results, profile)).collect()
}

fn judge(spec: &Spec, all: &[Case], results: &[CaseResult], profile: &Profile) -> SpecResult {
    let own: Vec<_> = results.iter().filter(|case| case.spec == spec.key).collect();
    let features: BTreeMap<String, FeatureState> = all
        .iter()
        .filter(|case| case.spec == spec.key && case.kind == CaseKind::Capability)
        .map(|case| (case.feature.to_owned(), state(case.feature, all, &own, profile)))
        .collect();
    let presence: Vec<_> = own.iter().filter(|case| case.kind == CaseKind::Presence).collect();
    let capability = capability(&features);
    let complete = !own.is_empty() && own.iter().all(|case| !matches!(case.status, Status::Error | Status::Skipped));
    let supported = |case: &&&CaseResult| {
        case.kind == CaseKind::Presence
            || features
                .get(&case.feature)
                .is_some_and(|state| matches!(state, FeatureState::Supported | FeatureState::Failed))
    };
    let failed = own.iter().filter(supported).any(|case| case.status == Status::Failed);
    let declared_failed = features.values().any(|state| *state == FeatureState::Failed);
    let compliance = match capability {
        _ if declared_failed => Compliance::Fail,
        Capability::None | Capability::Unknown => Compliance::NotApplicable,
        _ if failed => Compliance::Fail,
        _ if complete => Compliance::Pass,
        _ => Compliance::NotApplicable,
    };
    SpecResult {
        spec: spec.key.to_owned(),
        title: spec.title.to_owned(),
        version: spec.version.to_owned(),
        capability,
        compliance,
        complete,
        present: (!presence.is_empty()).then(|| presence.iter().all(|case| case.status == Status::Passed)),
        counts: counts(own.iter().copied()),
        features,
    }
}

/// Of one feature. Without a declaration a feature works if one of its cases passed.
fn state(feature: &str, all: &[Case], results: &[&CaseResult], profile: &Profile) -> FeatureState {
    let cases: Vec<_> = results.iter().filter(|case| case.feature == feature).collect();
    let some = |status: Status| cases.iter().any(|case| case.status == status);
    let wanted = all.iter().filter(|case| case.feature == feature).count();
    let every = |status: Status| cases.len() == wanted && cases.iter().all(|case| case.status == status);
    let works = profile.supported.contains(feature) || some(Status::Passed);
    if some(Status::Failed) {
        if works { FeatureState::Failed } else { FeatureState::Unsupported }
    } else if every(Status::Passed) {
        FeatureState::Supported
    } else if some(Status::NotSupported) {
        FeatureState::Unsupported
    } else {
        FeatureState::Untested
    }
}

fn capability(features: &BTreeMap<String, FeatureState>) -> Capability {
    // Requests are balanced also without any configuration, so this feature does not show that the specification is in effect.
    let acting: Vec<_> =
        features.iter().filter(|(name, _)| *name != "default_balance").map(|(_, state)| *state).collect();
    let any = |wanted: FeatureState| acting.contains(&wanted);
    if acting.iter().all(|state| *state == FeatureState::Supported) {
        return Capability::Full;
    }
    if !any(FeatureState::Supported) {
        let open = any(FeatureState::Untested);
        return match any(FeatureState::Failed) {
            true => Capability::Partial,
            false if open => Capability::Unknown,
            false => Capability::None,
        };
    }
    if any(FeatureState::Unsupported) || any(FeatureState::Failed) { Capability::Partial } else { Capability::Unknown }
}

/// Cases by how they ended.
#[must_use]
pub fn counts<'a>(cases: impl IntoIterator<Item = &'a CaseResult>) -> Counts {
    let mut counts = Counts::default();
    for case in cases {
        counts.total += 1;
        *match case.status {
            Status::Passed => &mut counts.passed,
            Status::Failed => &mut counts.failed,
            Status::Skipped => &mut counts.skipped,
            Status::NotSupported => &mut counts.not_supported,
            Status::Error => &mut counts.error,
        } += 1;
    }
    counts
}

/// The summary of a run that ended in `phase`.
#[must_use]
pub fn summary(suite: &Suite, results: &[CaseResult], specs: &[SpecResult], phase: &str) -> Summary {
    let counts = counts(results);
    let judged = counts.passed + counts.failed + counts.error;
    let conformance = specs
        .iter()
        .map(|spec| (spec.spec.clone(), format!("{}/{}", spec.capability.as_str(), spec.compliance.as_str())))
        .collect();
    let percent = |part: u32, whole: u32| (f64::from(part) * 10_000.0 / f64::from(whole)).round() / 100.0;
    Summary {
        counts,
        pass_percent: (judged > 0).then(|| percent(counts.passed, judged)),
        conformance,
        phase: phase.to_owned(),
        legacy: (suite.kind == SuiteKind::Smi).then(|| legacy(suite, results, specs)),
    }
}

/// Canonical cases of the SMI suite.
const CANONICAL: u32 = 24;

fn legacy(suite: &Suite, results: &[CaseResult], specs: &[SpecResult]) -> Legacy {
    let canonical: Vec<_> = results.iter().filter(|case| !case.case_id.contains('x')).collect();
    let passed = canonical.iter().filter(|case| case.status == Status::Passed).count();
    let passed = u32::try_from(passed).unwrap_or(CANONICAL);
    let details = suite.specs.iter().zip(specs).filter_map(|(spec, verdict)| {
        let (name, version) = spec.legacy?;
        let own: Vec<_> = canonical.iter().filter(|case| case.spec == spec.key).collect();
        let first = own.iter().find(|case| case.status != Status::Passed);
        let time = Duration::from_millis(own.iter().map(|case| case.duration_ms).sum());
        Some(LegacyDetail {
            smi_specification: name.to_owned(),
            smi_version: version.to_owned(),
            time: format!("{:.1}s", time.as_secs_f64()),
            assertions: own.len().to_string(),
            reason: first.map_or_else(
                || "All test passed".to_owned(),
                |case| {
                    format!(
                        "{}: {}",
                        case.case_id,
                        if case.message.is_empty() { case.status.as_str() } else { &case.message }
                    )
                },
            ),
            capability: match verdict.capability {
                Capability::Full => "FULL",
                Capability::Partial => "HALF",
                Capability::None | Capability::Unknown => "NONE",
            }
            .to_owned(),
            status: if verdict.compliance == Compliance::Pass { "PASSED" } else { "FAILED" }.to_owned(),
        })
    });
    Legacy {
        cases_passed: passed.to_string(),
        passing_percentage: format!("{:.2}", f64::from(passed) * 100.0 / f64::from(CANONICAL)),
        more_details: details.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::Reason;
    use super::*;

    fn result(case: &Case, status: Status) -> CaseResult {
        let reason = (status != Status::Passed).then_some(Reason::Assertion);
        CaseResult { reason, duration_ms: 1, attempts: 1, ..case.result(1, status) }
    }

    /// The verdict on access control when the cases end as `how` says.
    fn access(profile: &Profile, how: impl Fn(&Case) -> Option<Status>) -> (SpecResult, Summary) {
        let suite = SuiteKind::Smi.suite();
        let results: Vec<_> =
            suite.cases.iter().filter_map(|case| how(case).map(|status| result(case, status))).collect();
        let specs = specs(&suite, &suite.cases, &results, profile);
        let summary = summary(&suite, &results, &specs, "completed");
        (specs[0].clone(), summary)
    }

    fn passed_or(case: &Case, other: Status) -> Status {
        match case.untestable {
            Some(_) => Status::NotSupported,
            None if case.kind == CaseKind::Presence => Status::Passed,
            None => other,
        }
    }

    #[test]
    fn stored_objects_alone_do_not_prove_a_capability() {
        let (access, summary) = access(&Profile::default(), |case| Some(passed_or(case, Status::Failed)));
        assert_eq!((access.capability, access.compliance), (Capability::None, Compliance::NotApplicable));
        assert_eq!((access.present, access.complete), (Some(true), true));
        assert_eq!(summary.conformance["traffic_access_control"], "none/not-applicable");
        assert_eq!(summary.legacy.unwrap().more_details[0].capability, "NONE");
    }

    #[test]
    fn untestable_case_is_unsupported_and_not_counted() {
        let (access, summary) = access(&Profile::default(), |case| Some(passed_or(case, Status::Passed)));
        assert_eq!((access.capability, access.compliance), (Capability::Partial, Compliance::Pass));
        assert_eq!(access.features["udp_route"], FeatureState::Unsupported);
        assert_eq!((summary.pass_percent, summary.counts.not_supported), (Some(100.0), 2));
        let legacy = summary.legacy.unwrap();
        assert_eq!((legacy.cases_passed.as_str(), legacy.passing_percentage.as_str()), ("24", "100.00"));
        assert_eq!(
            (legacy.more_details[0].capability.as_str(), legacy.more_details[2].capability.as_str()),
            ("HALF", "FULL")
        );
    }

    #[test]
    fn declared_feature_that_fails_is_a_failure() {
        let fails =
            |case: &Case| Some(if case.id == "TA-x.1" { Status::Failed } else { passed_or(case, Status::Passed) });
        let (declared, _) = access(&Profile::of_smi_controller("sidecar"), fails);
        assert_eq!((declared.capability, declared.compliance), (Capability::Partial, Compliance::Fail));
        assert_eq!(declared.features["deny_other_source"], FeatureState::Failed);
        let (observed, _) = access(&Profile::default(), fails);
        assert_eq!((observed.capability, observed.compliance), (Capability::Partial, Compliance::Pass));
        assert_eq!(observed.features["deny_other_source"], FeatureState::Unsupported);
    }

    #[test]
    fn cases_that_could_not_be_judged_never_make_a_specification_pass() {
        let (access, _) = access(&Profile::default(), |case| {
            Some(if case.id == "TA-1.2.5" { Status::Error } else { passed_or(case, Status::Passed) })
        });
        assert_eq!((access.complete, access.compliance), (false, Compliance::NotApplicable));
        let (none, _) = self::access(&Profile::default(), |case| Some(passed_or(case, Status::Error)));
        assert_eq!(none.capability, Capability::Unknown);
    }

    #[test]
    fn cases_that_were_not_selected_leave_the_capability_open() {
        let (access, _) = access(&Profile::default(), |case| (case.id == "TA-1.2.5").then_some(Status::Passed));
        assert_eq!((access.capability, access.compliance), (Capability::Unknown, Compliance::NotApplicable));
    }
}
