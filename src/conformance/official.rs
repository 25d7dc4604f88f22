//! Reads what the suite of Gateway API itself reports: its `ConformanceReport` (YAML) and the log of its test program
//! (`-test.v`). The result has the cases of the built-in suite, so that both can be compared test by test. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::model::{CaseResult, Level, MeshInfo, Reason, RunInfo, RunReport, Status, SuiteInfo};
use super::suite::{Case, Suite, SuiteKind};
use super::verdict::{self, Profile};
use crate::hex::hex;

/// Value of `suite.origin` in such a report.
pub const ORIGIN: &str = "upstream";
/// Largest report, bytes.
pub const MAX_REPORT: usize = 1024 * 1024;
/// Largest log, bytes.
pub const MAX_LOG: usize = 64 * 1024 * 1024;
/// Samples that ended so soon after the route was applied may have been sent before the proxy had it.
const SOON: Duration = Duration::from_secs(10);
/// Share of each of two backends without a route, and how far a sample of 500 requests may be from it.
const UNROUTED: (f64, f64) = (0.5, 0.1);

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Larger than the limit.
    #[error("{what} has {size} bytes, more than {limit}")]
    TooLarge {
        /// `report` or `log`.
        what: &'static str,
        /// Bytes.
        size: usize,
        /// Limit in bytes.
        limit: usize,
    },
    /// Not the YAML of a report.
    #[error("not a ConformanceReport: {0}")]
    Yaml(String),
    /// Another kind of object.
    #[error("kind is {0:?}, not ConformanceReport")]
    Kind(String),
    /// No profile of the mesh.
    #[error("the report has no profile MESH-HTTP or MESH-GRPC; it has {}", .0.join(", "))]
    NoMesh(Vec<String>),
    /// Without a log the passed tests are known by their number only.
    #[error(
        "profile {profile} counts {counted} passed tests where suite {version} has {known}; pass the log of the test program to name them"
    )]
    Counts {
        /// Profile and level, such as `MESH-HTTP core`.
        profile: String,
        /// In the report.
        counted: u32,
        /// By the built-in suite.
        known: u32,
        /// Version of the built-in suite.
        version: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    kind: String,
    date: String,
    #[serde(rename = "gatewayAPIVersion")]
    version: String,
    implementation: Implementation,
    profiles: Vec<ProfileReport>,
    #[serde(default)]
    succeeded_provisional_tests: Vec<String>,
}

#[derive(Deserialize)]
struct Implementation {
    project: String,
    version: String,
}

#[derive(Deserialize)]
struct ProfileReport {
    name: String,
    core: Part,
    #[serde(default)]
    extended: Option<Part>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Part {
    statistics: Statistics,
    failed_tests: Vec<String>,
    skipped_tests: Vec<String>,
    supported_features: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Statistics {
    passed: u32,
}

/// The report in the shape of a run of this program, with `suite.origin` [`ORIGIN`]. `log` is the output of the test
/// program; without one, tests that the report does not name as failed or skipped count as passed.
///
/// # Errors
/// What cannot be read, or what the report alone does not say.
pub fn read(report: &str, log: Option<&str>) -> Result<RunReport, Error> {
    limit("report", report, MAX_REPORT)?;
    limit("log", log.unwrap_or_default(), MAX_LOG)?;
    let digest = Sha256::digest(report.as_bytes());
    let report: Report = serde_saphyr::from_str(report).map_err(|error| Error::Yaml(error.to_string()))?;
    if report.kind != "ConformanceReport" {
        return Err(Error::Kind(report.kind));
    }
    let suite = SuiteKind::GatewayApiMesh.suite();
    if !suite.specs.iter().any(|spec| report.profile(spec.title).is_some()) {
        return Err(Error::NoMesh(report.profiles.into_iter().map(|profile| profile.name).collect()));
    }
    let log = log.map(Log::read);
    if log.is_none() {
        report.check_counts(&suite)?;
    }
    let cases: Vec<_> = (1..)
        .zip(&suite.cases)
        .map(|(place, case)| report.case(case, profile_of(&suite, case), place, log.as_ref()))
        .collect();
    let specs = verdict::specs(&suite, &suite.cases, &cases, &report.declared(&suite));
    let summary = verdict::summary(&suite, &cases, &specs, "completed");
    let run = RunInfo {
        run_id: hex(&digest[..16]),
        suite: SuiteInfo { name: suite.kind.name().to_owned(), version: report.version, origin: ORIGIN.to_owned() },
        attempt: 1,
        mesh: MeshInfo {
            name: report.implementation.project,
            version: report.implementation.version,
            ..MeshInfo::default()
        },
        driver: "exec".to_owned(),
        started_at: report.date.clone(),
        finished_at: Some(report.date),
        ..RunInfo::default()
    };
    Ok(RunReport { run, cases, specs, summary, kept_namespaces: Vec::new() })
}

fn limit(what: &'static str, text: &str, limit: usize) -> Result<(), Error> {
    let size = text.len();
    if size > limit { Err(Error::TooLarge { what, size, limit }) } else { Ok(()) }
}

/// Name of the profile to which a case belongs: the title of its specification.
fn profile_of(suite: &Suite, case: &Case) -> &'static str {
    suite.specs.iter().find(|spec| spec.key == case.spec).map_or("", |spec| spec.title)
}

impl Report {
    fn profile(&self, name: &str) -> Option<&ProfileReport> {
        self.profiles.iter().find(|profile| profile.name == name)
    }

    /// A profile declares its core features and lists the extended ones.
    fn declared(&self, suite: &Suite) -> Profile {
        let is_declared = |case: &&Case| {
            let profile = profile_of(suite, case);
            self.part(case, profile).is_some() && self.status(case, profile) != Status::NotSupported
        };
        let supported = suite.cases.iter().filter(is_declared).map(|case| case.feature).collect();
        Profile { supported, ..Profile::default() }
    }

    /// The part of a profile to which a case belongs; none when the report has no such part.
    fn part(&self, case: &Case, profile: &str) -> Option<&Part> {
        let profile = self.profile(profile)?;
        if case.level == Level::Core { Some(&profile.core) } else { profile.extended.as_ref() }
    }

    /// How a test ended by the report alone.
    fn status(&self, case: &Case, profile: &str) -> Status {
        let Some(part) = self.part(case, profile) else { return Status::Skipped };
        let has = |names: &[String], name: &str| names.iter().any(|one| one == name);
        if has(&part.failed_tests, case.id) {
            Status::Failed
        } else if has(&part.skipped_tests, case.id) {
            Status::Skipped
        } else if case.level == Level::Extended && !has(&part.supported_features, feature(case.id)) {
            Status::NotSupported
        } else if case.id == "MeshHTTPRouteNamedRule" && !has(&self.succeeded_provisional_tests, case.id) {
            Status::Skipped
        } else {
            Status::Passed
        }
    }

    /// The suite counts `MeshBasic` in every profile of the mesh.
    fn check_counts(&self, suite: &Suite) -> Result<(), Error> {
        for spec in &suite.specs {
            let Some(profile) = self.profile(spec.title) else { continue };
            let parts =
                [(Level::Core, Some(&profile.core), "core"), (Level::Extended, profile.extended.as_ref(), "extended")];
            for (level, part, name) in parts {
                let Some(part) = part else { continue };
                let is_counted =
                    |case: &&Case| case.level == level && (case.spec == spec.key || case.id == "MeshBasic");
                let is_passed = |case: &&Case| self.status(case, &profile.name) == Status::Passed;
                let passed = suite.cases.iter().filter(is_counted).filter(is_passed);
                let known = u32::try_from(passed.count()).unwrap_or(u32::MAX);
                if known != part.statistics.passed {
                    let (profile, counted) = (format!("{} {name}", profile.name), part.statistics.passed);
                    return Err(Error::Counts { profile, counted, known, version: suite.version });
                }
            }
        }
        Ok(())
    }

    fn case(&self, case: &Case, profile: &str, ordinal: u32, log: Option<&Log>) -> CaseResult {
        let logged = log.and_then(|log| log.tests.get(case.id));
        let declared = self.status(case, profile);
        let status = match logged {
            None if log.is_some() => Status::Skipped,
            Some(test) if test.status == Status::Skipped => declared_or_skipped(declared),
            Some(test) => test.status,
            None => declared,
        };
        let suspected_race = match (status, log) {
            (Status::Failed, Some(log)) => log.suspected_race(case.id).unwrap_or_default(),
            _ => String::new(),
        };
        let message = match status {
            Status::Passed => String::new(),
            Status::Failed if !suspected_race.is_empty() => {
                format!("failed in the suite of Gateway API; suspected race of that suite: {suspected_race}")
            }
            _ => format!("{} in the suite of Gateway API", status.as_str()),
        };
        CaseResult {
            reason: (status == Status::Failed).then_some(Reason::Assertion),
            message,
            suspected_race,
            duration_ms: logged.map_or(0, |test| test.duration_ms),
            attempts: 1,
            ..case.result(ordinal, status)
        }
    }
}

/// The test program skips tests of unsupported features too.
fn declared_or_skipped(declared: Status) -> Status {
    if declared == Status::NotSupported { declared } else { Status::Skipped }
}

/// The feature that a test of the suite needs, where it has another name.
fn feature(test: &str) -> &str {
    match test {
        "MeshHTTPRouteBackendRequestHeaderModifier" => "MeshHTTPRouteBackendRequestHeaderModification",
        "MeshHTTPRouteNamedRule" => "MeshHTTPRouteNamedRouteRule",
        other => other,
    }
}

/// The log of the test program.
#[derive(Default)]
struct Log {
    tests: BTreeMap<String, Logged>,
    /// By the start of the file name, such as `httproute-weight`.
    weights: BTreeMap<&'static str, Weights>,
}

struct Logged {
    status: Status,
    duration_ms: u64,
}

/// A test of weights.
#[derive(Default)]
struct Weights {
    applied: Option<OffsetDateTime>,
    deleted: Option<OffsetDateTime>,
    /// Share of one backend in each sample that failed.
    samples: Vec<f64>,
}

/// Tests that sample weights: name, file and kind of the route.
const WEIGHTS: [(&str, &str, &str); 2] = [
    ("MeshHTTPRouteWeight", "httproute-weight", "mesh-weighted-backends HTTPRoute"),
    ("MeshGRPCRouteWeight", "grpcroute-weight", "mesh-grpc-weighted-backends GRPCRoute"),
];

impl Log {
    fn read(text: &str) -> Self {
        let mut log = Self::default();
        let mut sampled = None;
        for line in text.lines() {
            let line = line.trim_start();
            log.test(line);
            for (_, file, route) in WEIGHTS {
                let weight = log.weights.entry(file).or_default();
                if line.contains(&format!("Applying tests/mesh/{file}.yaml")) {
                    weight.applied = moment(line);
                } else if line.contains(&format!("Deleting {route}")) {
                    weight.deleted = moment(line);
                } else if line.starts_with(file) && line.contains("Traffic distribution test failed") {
                    sampled = Some(file);
                }
            }
            // The shares of a sample are on the lines that follow.
            if let Some(share) = share(line)
                && let Some(file) = sampled.take()
            {
                log.weights.entry(file).or_default().samples.push(share);
            }
        }
        log
    }

    /// A line such as `--- PASS: TestConformance/MeshBasic (0.35s)`; subtests have a longer path.
    fn test(&mut self, line: &str) {
        let Some((status, rest)) = line.strip_prefix("--- ").and_then(|line| line.split_once(": TestConformance/"))
        else {
            return;
        };
        let Some((name, seconds)) = rest.split_once(" (") else { return };
        let status = match status {
            "PASS" => Status::Passed,
            "FAIL" => Status::Failed,
            _ => Status::Skipped,
        };
        let seconds: f64 = seconds.trim_end_matches("s)").parse().unwrap_or_default();
        let duration_ms = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_millis();
        let duration_ms = u64::try_from(duration_ms).unwrap_or(u64::MAX);
        if !name.contains('/') {
            self.tests.insert(name.to_owned(), Logged { status, duration_ms });
        }
    }

    /// Evidence that a failed test of weights sampled before the proxy had the route. The Service answers the three
    /// requests for which the test waits without a route (kumahq/kuma#18322, cilium/cilium#42456).
    fn suspected_race(&self, test: &str) -> Option<String> {
        let (_, file, _) = WEIGHTS.iter().find(|(name, _, _)| *name == test)?;
        let weights = self.weights.get(file)?;
        let took = Duration::try_from(weights.deleted? - weights.applied?).ok()?;
        let (balance, tolerance) = UNROUTED;
        let is_unrouted = |share: &f64| (share - balance).abs() <= tolerance;
        let has_shape = took <= SOON && !weights.samples.is_empty() && weights.samples.iter().all(is_unrouted);
        let samples: Vec<_> = weights.samples.iter().map(|share| format!("{:.0} %", share * 100.0)).collect();
        has_shape.then(|| {
            let (count, samples) = (samples.len(), samples.join(", "));
            let took = took.as_secs_f64();
            format!("{count} samples ended within {took:.1} s after the route was applied and show the balance without a route ({samples})")
        })
    }
}

/// The time of a line such as `apply.go:271: 2026-11-29T04:54:42.431Z: Creating …`.
fn moment(line: &str) -> Option<OffsetDateTime> {
    line.split_whitespace().find_map(|word| OffsetDateTime::parse(word.trim_end_matches(':'), &Rfc3339).ok())
}

/// The share in `backend "echo-v1" weighted traffic of 0.52 not within tolerance 0.7 (+/-0.050000)`.
fn share(line: &str) -> Option<f64> {
    let (_, rest) = line.split_once("weighted traffic of ")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::model::Counts;
    use super::*;

    const REPORT: &str = include_str!("official/report.yaml");
    const LOG: &str = include_str!("official/log.txt");

    fn status(report: &RunReport, id: &str) -> Status {
        report.cases.iter().find(|case| case.case_id == id).unwrap().status
    }

    #[test]
    fn official_report_names_every_test_and_its_origin() {
        let report = read(REPORT, None).unwrap();
        assert_eq!((report.run.suite.origin.as_str(), report.run.suite.version.as_str()), ("upstream", "v1.6.1"));
        assert_eq!(report.summary.counts, Counts { total: 15, passed: 15, ..Counts::default() });
        assert_eq!(report.specs[0].features.len(), 14);
        assert!(report.cases.iter().all(|case| case.message.is_empty()));
    }

    #[test]
    fn failed_skipped_and_unsupported_tests_of_a_report_are_not_passed() {
        let text = REPORT.replace("    - MeshHTTPRouteRewritePath\n", "").replace(
            "      Passed: 7\n      Skipped: 0\n    supported",
            "      Passed: 6\n      Skipped: 0\n    supported",
        );
        let report = read(&text, None).unwrap();
        assert_eq!(status(&report, "MeshHTTPRouteRewritePath"), Status::NotSupported);
        let text = REPORT.replace(
            "      Failed: 0\n      Passed: 2\n      Skipped: 0\n",
            "      Failed: 1\n      Passed: 1\n      Skipped: 0\n    failedTests:\n    - MeshGRPCRouteWeight\n",
        );
        let report = read(&text, None).unwrap();
        assert_eq!(status(&report, "MeshGRPCRouteWeight"), Status::Failed);
        assert_eq!(report.summary.counts.failed, 1);
    }

    #[test]
    fn report_of_a_suite_with_other_tests_needs_the_log() {
        let text = REPORT.replace("Passed: 2", "Passed: 3");
        let error = read(&text, None).unwrap_err().to_string();
        assert!(error.contains("MESH-GRPC core counts 3 passed tests") && error.contains("pass the log"), "{error}");
        assert!(read(&text, Some(LOG)).is_ok());
    }

    #[test]
    fn log_gives_the_outcome_and_time_of_each_test() {
        let report = read(REPORT, Some(LOG)).unwrap();
        assert_eq!(report.summary.counts.passed, 15);
        let weight = report.cases.iter().find(|case| case.case_id == "MeshGRPCRouteWeight").unwrap();
        assert_eq!(weight.duration_ms, 1010);
        assert!(weight.suspected_race.is_empty());
    }

    #[test]
    fn weights_sampled_before_the_route_is_programmed_are_a_suspected_race() {
        let sample = |share: &str| {
            format!(
                "    httproute-weight.go:80: Traffic distribution test failed (1/10): backend \"echo-v1\" weighted traffic of {share} not within tolerance 0.7 (+/-0.050000)\n"
            )
        };
        let failed = |shares: &[&str]| {
            let samples: String = shares.iter().map(|share| sample(share)).collect();
            let log = LOG.replace(
                "--- PASS: TestConformance/MeshHTTPRouteWeight (",
                "--- FAIL: TestConformance/MeshHTTPRouteWeight (",
            );
            read(REPORT, Some(&(samples + &log)))
                .unwrap()
                .cases
                .into_iter()
                .find(|case| case.case_id == "MeshHTTPRouteWeight")
                .unwrap()
        };
        let race = failed(&["0.52", "0.49"]);
        assert_eq!(race.status, Status::Failed, "a suspected race is still a failure");
        assert!(race.suspected_race.contains("2 samples") && race.suspected_race.contains("52 %, 49 %"), "{race:?}");
        // Another share than that of the Service is the work of a route.
        assert!(failed(&["0.52", "0.9"]).suspected_race.is_empty());
        assert!(failed(&[]).suspected_race.is_empty());
    }

    #[test]
    fn files_that_are_no_mesh_report_are_refused() {
        for (text, reason) in [
            ("a: [", "not a ConformanceReport"),
            ("{}", "not a ConformanceReport"),
            (&*REPORT.replace("kind: ConformanceReport", "kind: Gateway"), "kind is \"Gateway\""),
            (&*REPORT.replace("name: MESH-", "name: GATEWAY-"), "no profile MESH-HTTP"),
            (&*"x".repeat(MAX_REPORT + 1), "more than 1048576"),
        ] {
            let error = read(text, None).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
