//! Objects that several files define differently: steps of a tutorial, environments, stages of a canary. Only one of
//! them is applied at a time, and which ones go together is not known. So a finding that depends on other objects counts
//! only if it holds with each alternative of them. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZero;

use super::run::settle;
use super::units::retain_applied_together;
use super::unstated::retain_in_each_namespace;
use super::{Check, Code, Finding, ObjectRef, Rule, Snapshot, rules, run};

/// Maximum number of alternatives of one object with which the findings about others are tried.
pub(super) const MOST_ROUNDS: usize = 16;
/// Maximum number of objects that are tried one by one; findings of the others that depend on other objects are dropped.
const MOST_OBJECTS: usize = 50;
/// Rules with one kind of input that compare its objects with each other.
const COMPARING: [&str; 6] = [
    "gateway.CertificateAnalyzer",
    "routing.SameHostEntries",
    "routing.OverlappingRules",
    "routing.SharedGatewayHost",
    "gateway_api.Addresses",
    "access.Matching",
];

/// All findings, as [`run()`] gives them, but for those that do not hold with each alternative, and with those that the
/// alternatives have by themselves.
pub(super) fn run_objects(snapshot: &Snapshot, rules: &[&'static Rule], threads: NonZero<usize>) -> Vec<Finding> {
    let mut findings = run(snapshot, rules, threads);
    let before = findings.len();
    let repeated: BTreeSet<ObjectRef> = snapshot.alternatives().map(|it| ObjectRef::from(&**it)).collect();
    let rounds = rounds(snapshot);
    for round in 0..rounds.min(MOST_ROUNDS) {
        let rules = rules_about(&findings, rules);
        if rules.is_empty() {
            break;
        }
        let others = run(&snapshot.with_alternatives(round, None), &rules, threads);
        let known: HashSet<&str> = others.iter().map(|finding| finding.fingerprint.as_str()).collect();
        let is_own = |finding: &Finding| repeated.contains(&finding.object);
        findings.retain(|it| !depends_on_others(it.code) || is_own(it) || known.contains(&*it.fingerprint));
        retain_of_repeated(snapshot, round, &repeated, &rules, threads, &mut findings);
    }
    let mut is_settled = rounds == 0;
    retain_applied_together(snapshot, rules, threads, &mut findings);
    retain_in_each_namespace(snapshot, rules, threads, &mut findings);
    is_settled &= findings.len() == before;
    add_of_alternatives(snapshot, rounds, rules, threads, &mut findings);
    if !is_settled {
        settle(&mut findings);
    }
    findings
}

/// The rules of the findings that depend on other objects.
pub(super) fn rules_about(findings: &[Finding], rules: &[&'static Rule]) -> Vec<&'static Rule> {
    let codes = findings.iter().filter(|it| depends_on_others(it.code)).map(|it| it.code.id).collect();
    with_codes(&codes, rules)
}

/// The rules that report one of these codes.
pub(super) fn with_codes(codes: &BTreeSet<&str>, rules: &[&'static Rule]) -> Vec<&'static Rule> {
    rules.iter().filter(|rule| rule.codes.iter().any(|code| codes.contains(code.id))).copied().collect()
}

/// Adds what each alternative has by itself.
fn add_of_alternatives(
    snapshot: &Snapshot,
    rounds: usize,
    rules: &[&'static Rule],
    threads: NonZero<usize>,
    findings: &mut Vec<Finding>,
) {
    let rules: Vec<&'static Rule> =
        rules.iter().filter(|rule| rule.codes.iter().any(|code| !depends_on_others(code))).copied().collect();
    let mut known: HashSet<String> = findings.iter().map(|finding| finding.fingerprint.clone()).collect();
    for round in 0..rounds {
        let found = run(&snapshot.alternatives_alone(round), &rules, threads);
        for finding in found.into_iter().filter(|it| !depends_on_others(it.code)) {
            if known.insert(finding.fingerprint.clone()) {
                findings.push(finding);
            }
        }
    }
}

/// Of an object with alternatives, keeps what holds while the other objects take theirs.
fn retain_of_repeated(
    snapshot: &Snapshot,
    round: usize,
    repeated: &BTreeSet<ObjectRef>,
    rules: &[&'static Rule],
    threads: NonZero<usize>,
    findings: &mut Vec<Finding>,
) {
    let is_asked = |it: &&Finding| depends_on_others(it.code) && repeated.contains(&it.object);
    let mut codes: BTreeMap<ObjectRef, BTreeSet<&'static str>> = BTreeMap::new();
    for finding in findings.iter().filter(is_asked) {
        codes.entry(finding.object.clone()).or_default().insert(finding.code.id);
    }
    let mut holds: HashSet<String> = HashSet::new();
    for (object, codes) in codes.iter().take(MOST_OBJECTS) {
        let found = run(&snapshot.with_alternatives(round, Some(object)), &with_codes(codes, rules), threads);
        holds.extend(found.into_iter().filter(|it| it.object == *object).map(|finding| finding.fingerprint));
    }
    findings.retain(|it| !is_asked(&it) || holds.contains(&it.fingerprint));
}

/// The number of alternatives that one object has at most.
pub(super) fn rounds(snapshot: &Snapshot) -> usize {
    let mut counts: BTreeMap<ObjectRef, usize> = BTreeMap::new();
    for alternative in snapshot.alternatives() {
        *counts.entry(ObjectRef::from(&**alternative)).or_default() += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

/// Whether a code may be reported because of another object than the one it is about.
pub(super) fn depends_on_others(code: &Code) -> bool {
    rules::ALL.iter().any(|rule| rule.codes.contains(&code) && compares(rule))
}

fn compares(rule: &Rule) -> bool {
    let is_of_one = match rule.check {
        Check::Text(..) => true,
        Check::Each(..) => rule.inputs.len() == 1 && !COMPARING.contains(&rule.name),
        Check::Namespaces(..) | Check::Once(_) => false,
    };
    !is_of_one && !rule.name.starts_with("schema.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{self, Sources};
    use crate::{Settings, Snapshot};

    const ONE: NonZero<usize> = NonZero::<usize>::MIN;

    fn reported(files: &[&str]) -> Vec<String> {
        let mut sources = Sources::default();
        for (number, text) in files.iter().enumerate() {
            sources.add(format!("{number}.yaml"), (*text).to_owned());
        }
        let reading = source::read(&sources, ONE);
        let snapshot = Snapshot::new(reading.resources, Settings::default());
        let found = run_objects(&snapshot, rules::ALL, ONE);
        found
            .into_iter()
            .filter(|it| it.level == crate::Level::Error)
            .map(|it| format!("{} {}", it.code.id, it.object))
            .collect()
    }

    fn route(subset: &str) -> String {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a, namespace: shop}}\n\
             spec: {{hosts: [a], http: [{{route: [{{destination: {{host: a, subset: {subset}}}}}]}}]}}\n"
        )
    }

    fn rule(subset: &str) -> String {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: a, namespace: shop}}\n\
             spec: {{host: a, subsets: [{{name: {subset}, labels: {{v: {subset}}}}}]}}\n"
        )
    }

    const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: shop}\nspec: {ports: [{port: 80, name: http}]}\n";

    #[test]
    fn finding_is_reported_only_if_every_alternative_has_it() {
        let (v1, v2) = (rule("v1"), rule("v2"));
        assert_eq!(reported(&[SERVICE, &route("v1"), &v1, &v2]), [""; 0], "v1 is defined by the first file");
        assert_eq!(reported(&[SERVICE, &route("v3"), &v1, &v2]), ["IST0101 VirtualService shop/a"]);
        // The route has alternatives too: each goes with one of the rules.
        assert_eq!(reported(&[SERVICE, &route("v1"), &v1, &route("v2"), &v2]), [""; 0]);
        assert_eq!(reported(&[SERVICE, &v1, &route("v2"), &v2, &route("v3")]), ["IST0101 VirtualService shop/a"]);
    }

    #[test]
    fn many_alternatives_are_all_tried() {
        let rules: Vec<String> = (1..9).map(|number| rule(&format!("v{number}"))).collect();
        let last = route("v5").replace("hosts: [a], ", "gateways: [x], ");
        let (good, bad) = (route("v3"), route("v9"));
        let with = |route: &str| {
            let mut files = vec![SERVICE, route];
            files.extend(rules.iter().map(String::as_str));
            reported(&files)
        };
        assert_eq!(with(&good), [""; 0], "one of eight alternatives defines the subset");
        assert_eq!(with(&bad), ["IST0101 VirtualService shop/a"]);
        let routes: Vec<String> = (1..9).map(|number| route(&format!("v{number}"))).collect();
        let mut files = vec![SERVICE, &last];
        files.extend(routes.iter().map(String::as_str));
        let found = reported(&files);
        assert!(
            found.iter().any(|it| it == "IST0106 VirtualService shop/a"),
            "the first of nine has no host: {found:?}"
        );
    }

    #[test]
    fn comparing_rules_exist() {
        for name in COMPARING {
            assert!(rules::ALL.iter().any(|rule| rule.name == name && rule.inputs.len() == 1), "{name}");
        }
    }

    #[test]
    fn alternative_is_judged_by_itself() {
        let wrong = route("v1").replace("hosts: [a], ", "");
        let found =
            reported(&[SERVICE, &rule("v1"), &wrong.replace("spec: {", "spec: {gateways: [x], "), &route("v1")]);
        assert!(found.iter().any(|it| it == "IST0106 VirtualService shop/a"), "{found:?}");
    }
}
