//! What is done with the bytes of strangers, one function for each reader. Each may refuse its input and must not panic;
//! what it accepts has to have the properties that are checked here. Used by the fuzz targets and by
//! `tests/it_docs/fuzz_corpus.rs`, which runs the committed corpus without a fuzzer.
#![allow(dead_code, reason = "each target uses one of them")]

use http::{HeaderMap, HeaderName, HeaderValue};
use sailhand::analysis::source::{self, Sources};
use sailhand::analysis::{Finding, Settings, Snapshot, mesh, report, rules, run};
use sailhand::bridge::matching;
use sailhand::cluster::manifest;
use sailhand::config::{Bridge, BridgeTarget};
use sailhand::error::Problem;
use sailhand::event::{self, CommandKey, Outcome, ResultData, Target, binding};
use sailhand::gateway;
use std::num::NonZero;
use time::OffsetDateTime;

/// Takes any bytes and returns; whatever is wrong panics.
pub type Reader = fn(&[u8]);

/// Every reader by the name of its target and of its folder below `fuzz/corpus`.
pub const READERS: [(&str, Reader); 6] = [
    ("structured", structured),
    ("binary", binary),
    ("manifest", manifest),
    ("configuration", configuration),
    ("kubeconfig", kubeconfigs),
    ("http", request),
];

/// Largest answer to a command that was refused; far below what a message may have.
const MAX_ANSWER: usize = 128 * 1024;

/// A command in structured mode: the input is the payload.
pub fn structured(input: &[u8]) {
    decode(&[("Content-Type", "application/cloudevents+json")], input);
    decode(&[], input);
}

/// A command in binary mode: lines `name: value` up to an empty line, then the payload.
pub fn binary(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (head, payload) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut headers: Vec<_> = head.lines().filter_map(|line| line.split_once(": ")).collect();
    headers.push(("ce-specversion", "1.0"));
    decode(&headers[..headers.len() - 1], payload.as_bytes());
    decode(&headers, payload.as_bytes());
}

fn decode(headers: &[(&str, &str)], payload: &[u8]) {
    let Ok(target) = "dev".parse::<Target>() else { unreachable!("it is a DNS label") };
    let decoded = event::decode(&target, "config.apply", &headers.iter().copied(), payload);
    let (origin, error) = match &decoded {
        Ok(command) => (Some(&command.origin), None),
        Err(rejection) => (rejection.origin.as_deref(), Some(Problem::new(&rejection.error))),
    };
    let Some(origin) = origin else { return };
    assert_eq!(origin.key, CommandKey::new(&origin.source, &origin.id));
    // Whoever can be named can be answered, and reads the answer as it was meant.
    let result = ResultData {
        outcome: if error.is_some() { Outcome::Rejected } else { Outcome::Succeeded },
        changed: false,
        report: None,
        error,
        attempts: 0,
        earlier_attempts: Vec::new(),
        fence: 0,
        worker: "fuzz".to_owned(),
        ended: event::rfc3339(OffsetDateTime::UNIX_EPOCH),
    };
    let answer = event::result_event(origin, OffsetDateTime::UNIX_EPOCH, &result).expect("an answer");
    let sent = serde_json::to_vec(&answer).expect("an answer in JSON");
    assert!(sent.len() <= MAX_ANSWER, "{} bytes", sent.len());
    let read = binding::read(&std::iter::empty(), &sent).expect("an answer that can be read");
    assert_eq!(read["commandid"], origin.id.as_str());
    assert_eq!(read["commandkey"], origin.key.as_str());
}

/// A manifest: what it says in other words is the same manifest.
pub fn manifest(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let objects = match manifest::read(text) {
        Ok(objects) => objects,
        Err(error) => {
            let problem = Problem::new(&error);
            assert!(problem.code.starts_with("SH31"), "{problem}");
            return;
        }
    };
    assert!(objects.len() <= manifest::MAX_OBJECTS);
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
    // Aliases are written out, so it may be longer than is read; and a list is one level more.
    if let Ok(again) = manifest::read(&list.to_string()) {
        assert_eq!(objects, again);
    }
}

/// What `sailhand analyze` reads: whatever objects it has, all rules judge them, and each finding has its place in it.
/// Threads change nothing.
pub fn configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut sources = Sources::default();
    sources.add("input.yaml", text.to_owned());
    let judged = |threads: NonZero<usize>| {
        let reading = source::read(&sources, threads);
        let settings = Settings { now: 0, ..mesh::settings_in(&reading.resources, 0) };
        let snapshot = Snapshot::new(reading.resources, settings);
        (run(&snapshot, rules::ALL, threads), snapshot.len())
    };
    let one = NonZero::<usize>::MIN;
    let (findings, objects) = judged(one);
    let (again, _) = judged(one.saturating_add(1));
    assert_eq!(findings, again);
    let lines = text.lines().count().max(1);
    let has_place = |finding: &Finding| sources.position(finding).is_none_or(|(_, at)| (1..=lines).contains(&at.line));
    assert!(findings.iter().all(has_place), "{findings:?}");
    let report = report::Report { findings: &findings, sources: &sources, objects, suppressed: 0 };
    let mut shown = String::new();
    report::text::write(&report, report::text::Layout::default(), &mut shown).expect("text");
    serde_json::to_string(&report::sarif::document(&report)).expect("SARIF");
}

/// A kubeconfig that a client sends to the bridge: whatever it has, it selects a target by the rules of the configuration
/// only.
pub fn kubeconfigs(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let list = |text: &str| vec![text.to_owned()];
    let by_ca = BridgeTarget { ca_sha256: list(&"a".repeat(64)), ..BridgeTarget::default() };
    let by_server = BridgeTarget { server: list("https://dev:6443"), server_only: true, ..BridgeTarget::default() };
    let by_context = BridgeTarget { contexts: list("kind-dev"), ..BridgeTarget::default() };
    let bridge = Bridge {
        targets: [("ca", by_ca), ("server", by_server), ("context", by_context)]
            .map(|(id, target)| (id.to_owned(), target))
            .into(),
        ..Bridge::default()
    };
    let found = matching::read(&[text.to_owned()])
        .and_then(|facts| Ok((matching::targets(&bridge, &facts, &matching::Uids::new())?, facts)));
    match found {
        Ok((targets, facts)) => {
            let facts = facts.first().expect("the facts of the kubeconfig");
            let target = targets.first().expect("a target").as_str();
            match target {
                "server" => assert!(facts.ca_sha256.is_empty() && facts.server.to_string() == "https://dev:6443"),
                "context" => assert_eq!(facts.context, "kind-dev"),
                other => panic!("no certificate has the digest of {other}"),
            }
        }
        // Names and addresses are quoted, cut to a length.
        Err(error) => assert!(error.to_string().len() <= 4096, "{error}"),
    }
}

/// A request to the gateway: lines `name: value` up to an empty line, then the body.
pub fn request(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut headers = HeaderMap::new();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    let Ok(commands) = gateway::commands_of_request(&headers, body.as_bytes()) else { return };
    assert!(commands.len() <= 500);
    for command in commands {
        let origin = &command.origin;
        assert_eq!(origin.key, CommandKey::new(&origin.source, &origin.id));
        // They become subjects and headers of NATS; the verb must be one of the catalogue.
        assert!(!origin.target.as_str().contains(['.', '*', '>', ' ']), "{origin:?}");
        assert!(!origin.id.chars().chain(origin.source.chars()).any(char::is_control), "{origin:?}");
    }
}
