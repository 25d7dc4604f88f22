//! Judges the checks of one round.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use serde_json::Value;

use super::super::Error;
use super::super::environment::reference;
use super::super::model::CheckEvidence;
use super::super::statistics;
use super::super::suite::{Check, Expect, Group, Outcome, Shares};
use super::super::traffic::{Answer, Failure, Request, header};
use super::case::PAUSE;
use super::precheck::{items, served};
use super::{Context, Run};

/// The outcome of a check.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub evidence: CheckEvidence,
    pub answers: Vec<Answer>,
    /// A request that succeeded as it had to: from now on its denial counts.
    pub succeeded: Option<Request>,
    /// Whether the check expects a denial.
    pub is_denial: bool,
    /// The API server, an exec or a port-forward failed.
    pub cluster: bool,
}

impl Judged {
    /// How requests failed on their way, if any did.
    pub(super) fn failure(&self) -> Option<Failure> {
        let failures = self.answers.iter().filter_map(|answer| answer.error.as_ref()).map(|(failure, _)| *failure);
        failures.into_iter().find(|failure| matches!(failure, Failure::Dns | Failure::Timeout))
    }
}

impl Run<'_> {
    /// One check, with `times` as many requests as it names. `succeeded` are the requests of the case that have succeeded
    /// in a control phase.
    pub(super) async fn judge(
        &self,
        group: &Group,
        check: &Check,
        times: u32,
        succeeded: &HashSet<Request>,
        uids: &BTreeMap<String, String>,
    ) -> Result<Judged, Error> {
        self.cx.guard.check()?;
        let judged = match check {
            Check::Answers(request, expect) => {
                let sent = self.resolved(group, request, times);
                self.answers(&sent, request, expect, succeeded).await
            }
            Check::Reaches(request, backends) => {
                self.backends(
                    &self.resolved(group, request, times),
                    &format!("answers of {} and of no other workload", backends.join(", ")),
                    |seen| seen.keys().map(String::as_str).eq(sorted(backends)),
                )
                .await
            }
            Check::Appears(request, backend) => {
                let sent = self.resolved(group, request, times);
                self.backends(&sent, &format!("an answer of {backend}"), |seen| seen.contains_key(*backend)).await
            }
            Check::Shares(shares) => self.shares(&self.resolved(group, &shares.request, times), shares).await,
            Check::Stored(object) => self.stored(group, object).await,
            Check::Gone(object) => self.gone(group, object).await,
            Check::Reported(object) => self.reported(group, object, uids).await,
            Check::Served(name, version) => served_check(self.cx, name, version).await,
            Check::InMesh => self.in_mesh(group).await,
        };
        match judged {
            Err(error) if !error.ends_run() => Ok(Judged {
                evidence: check_evidence("request to the API server", "an answer", error.to_string(), false),
                cluster: true,
                ..Judged::default()
            }),
            judged => judged,
        }
    }

    /// The request with the run's namespaces, `times` as often. Repeated requests take as long as rounds with a pause of
    /// [`PAUSE`] between them.
    fn resolved(&self, group: &Group, request: &Request, times: u32) -> Request {
        let rounds_per_second = u32::try_from(1000 / PAUSE.as_millis()).unwrap_or(1);
        Request {
            namespace: self.namespaces.resolve(group, &request.namespace),
            host: self.namespaces.resolve(group, &request.host),
            count: request.count * times,
            per_second: if times > 1 { request.count * rounds_per_second } else { request.per_second },
            ..request.clone()
        }
    }

    async fn send(&self, request: &Request) -> Result<Vec<Answer>, Error> {
        tokio::select! {
            biased;
            stop = self.cx.guard.stopped() => Err(stop.into()),
            answers = self.cx.driver.send(request) => answers,
        }
    }

    /// `request` is the one of the suite, `sent` the same with the run's namespaces.
    async fn answers(
        &self,
        sent: &Request,
        request: &Request,
        expect: &Expect,
        succeeded: &HashSet<Request>,
    ) -> Result<Judged, Error> {
        let answers = self.send(sent).await?;
        let is_denial = matches!(expect.outcome, Outcome::Denied | Outcome::DeniedAtL4);
        let wrong = answers.iter().find_map(|answer| mismatch(expect, answer, &sent.host));
        let uncontrolled = is_denial && !succeeded.contains(request);
        let observed = match &wrong {
            Some(wrong) => wrong.clone(),
            None if uncontrolled => "denied, but the request did not succeed in a control phase".to_owned(),
            None => answers.first().map_or_else(|| "no answer".to_owned(), Answer::describe),
        };
        let held = wrong.is_none() && !uncontrolled && !answers.is_empty();
        Ok(Judged {
            evidence: check_evidence(&sent.describe(), &describe(expect), observed, held),
            succeeded: (held && !is_denial).then(|| request.clone()),
            answers,
            is_denial,
            cluster: false,
        })
    }

    async fn backends(
        &self,
        sent: &Request,
        expected: &str,
        holds: impl Fn(&BTreeMap<String, u64>) -> bool,
    ) -> Result<Judged, Error> {
        let answers = self.send(sent).await?;
        let seen = by_backend(&answers);
        let all_ok = answers.iter().all(|answer| answer.status == Some(200));
        let held = all_ok && holds(&seen);
        let observed = observed(&answers, &seen);
        let what = sent.describe();
        Ok(Judged { evidence: check_evidence(&what, expected, observed, held), answers, ..Judged::default() })
    }

    async fn shares(&self, sent: &Request, shares: &Shares) -> Result<Judged, Error> {
        let answers = self.send(sent).await?;
        let seen = by_backend(&answers);
        let count = answers.len() as u64;
        let names: Vec<_> = shares.weights.iter().map(|(name, _)| *name).collect();
        let within = names.iter().zip(shares.expected()).all(|(name, share)| {
            statistics::is_within(seen.get(*name).copied().unwrap_or(0), count, share, shares.tolerance)
        });
        let all_ok = answers.iter().all(|answer| answer.status == Some(200));
        let known = seen.keys().all(|name| names.contains(&name.as_str()));
        let expected: Vec<_> = shares
            .weights
            .iter()
            .zip(shares.expected())
            .map(|((name, _), share)| format!("{name} {:.1} %", share * 100.0))
            .collect();
        let expected = format!("{} within {} points", expected.join(", "), shares.tolerance);
        let held = within && all_ok && known && count > 0;
        let what = sent.describe();
        let observed = observed(&answers, &seen);
        Ok(Judged { evidence: check_evidence(&what, &expected, observed, held), answers, ..Judged::default() })
    }

    async fn stored(&self, group: &Group, object: &Value) -> Result<Judged, Error> {
        let wanted = self.namespaces.resolve_object(group, object);
        let live = self.cx.environment.get(&reference(&wanted)).await?;
        let (observed, held) = match &live {
            None => ("not found".to_owned(), false),
            Some(live) if live["spec"] == wanted["spec"] => ("the same spec".to_owned(), true),
            Some(live) => (format!("spec {}", live["spec"]), false),
        };
        let what = reference(&wanted).to_string();
        Ok(plain(&what, &format!("stored with spec {}", wanted["spec"]), observed, held))
    }

    async fn gone(&self, group: &Group, object: &Value) -> Result<Judged, Error> {
        let object = reference(&self.namespaces.resolve_object(group, object));
        let exists = self.cx.environment.get(&object).await?.is_some();
        let observed = if exists { "exists" } else { "not found" };
        Ok(plain(&object.to_string(), "not found", observed.to_owned(), !exists))
    }

    /// Events about the object as it is stored now; one of an object of that name that was deleted does not count.
    async fn reported(&self, group: &Group, object: &Value, uids: &BTreeMap<String, String>) -> Result<Judged, Error> {
        let object = reference(&self.namespaces.resolve_object(group, object));
        let events = self.events(group, uids).await?;
        let own = events.iter().find(|(name, _)| *name == object.to_string());
        let observed = own.map_or_else(|| "no Event".to_owned(), |(_, reason)| format!("Event {reason}"));
        Ok(plain(&object.to_string(), "an Event about the object", observed, own.is_some()))
    }

    /// Objects of the case that the adapter refuses, with the reason. `uids` are those of the case's objects, by name.
    pub(super) async fn events(
        &self,
        group: &Group,
        uids: &BTreeMap<String, String>,
    ) -> Result<Vec<(String, String)>, Error> {
        let namespace = self.namespaces.name(group, 0);
        let events = self.cx.environment.list("v1", "Event", Some(&namespace), None).await?;
        let refusals = events.iter().filter(|event| matches!(event["reason"].as_str(), Some("Refused" | "Conflict")));
        let own = refusals.filter_map(|event| {
            let uid = event["involvedObject"]["uid"].as_str()?;
            let (name, _) = uids.iter().find(|(_, own)| *own == uid)?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            Some((name.clone(), format!("{}: {}", text(&event["reason"]), text(&event["message"]))))
        });
        Ok(own.collect())
    }

    async fn in_mesh(&self, group: &Group) -> Result<Judged, Error> {
        let (waiting, outside) = self.pods(group).await?;
        let observed = if waiting.is_empty() && outside.is_empty() {
            "ready and in the mesh".to_owned()
        } else {
            [waiting.clone(), outside.clone()].concat().join("; ")
        };
        Ok(plain("pods", "ready and in the mesh", observed, waiting.is_empty() && outside.is_empty()))
    }
}

async fn served_check(cx: &Context<'_>, name: &str, version: &str) -> Result<Judged, Error> {
    let served = served(cx, name).await?;
    let held = served.as_ref().is_some_and(|served| served.iter().any(|one| one == version));
    let observed =
        served.map_or_else(|| "not established".to_owned(), |served| format!("served {}", served.join(", ")));
    Ok(plain(&format!("CustomResourceDefinition {name}"), &format!("served {version}"), observed, held))
}

fn plain(what: &str, expected: &str, observed: String, held: bool) -> Judged {
    Judged { evidence: check_evidence(what, expected, observed, held), ..Judged::default() }
}

fn check_evidence(what: &str, expected: &str, observed: String, held: bool) -> CheckEvidence {
    let cut = super::case::cut;
    CheckEvidence { what: cut(what.to_owned()), expected: cut(expected.to_owned()), observed: cut(observed), held }
}

/// Answers with a status by the workload that gave them.
pub(super) fn by_backend(answers: &[Answer]) -> BTreeMap<String, u64> {
    let mut seen = BTreeMap::new();
    for answer in answers.iter().filter(|answer| !answer.backend.is_empty()) {
        *seen.entry(answer.backend.clone()).or_default() += 1;
    }
    seen
}

fn observed(answers: &[Answer], seen: &BTreeMap<String, u64>) -> String {
    let mut parts: Vec<_> = seen.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if let Some(other) = answers.iter().find(|answer| answer.status != Some(200)) {
        parts.push(other.describe());
    }
    if parts.is_empty() { "no answer".to_owned() } else { parts.join(", ") }
}

fn sorted<'a>(names: &[&'a str]) -> impl Iterator<Item = &'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.into_iter()
}

fn describe(expect: &Expect) -> String {
    let mut text = match expect.outcome {
        Outcome::Ok => "200".to_owned(),
        Outcome::Denied => "403".to_owned(),
        Outcome::DeniedAtL4 => "403 or a reset connection".to_owned(),
        Outcome::Status(status) => status.to_string(),
    };
    if !expect.backends.is_empty() {
        let _ = write!(text, " from {}", expect.backends.join(" or "));
    }
    if let Some(path) = expect.path {
        let _ = write!(text, ", path {path}");
    }
    if let Some(location) = expect.location {
        let _ = write!(text, ", Location {location}");
    }
    for (name, value) in &expect.request_headers {
        let _ = write!(text, ", request header {name}: {value}");
    }
    for name in &expect.absent_request_headers {
        let _ = write!(text, ", no request header {name}");
    }
    text
}

/// What is wrong with an answer.
fn mismatch(expect: &Expect, answer: &Answer, host: &str) -> Option<String> {
    let reset = matches!(answer.error, Some((Failure::Reset, _)));
    let fits = match expect.outcome {
        Outcome::Ok => answer.status == Some(200),
        Outcome::Denied => answer.status == Some(403),
        Outcome::DeniedAtL4 => answer.status == Some(403) || reset,
        Outcome::Status(status) => answer.status == Some(status),
    };
    if !fits || (!expect.backends.is_empty() && !expect.backends.contains(&answer.backend.as_str())) {
        return Some(answer.describe());
    }
    if let Some(path) = expect.path.filter(|path| *path != answer.path) {
        return Some(format!("path {} instead of {path}", answer.path));
    }
    if let Some(location) = expect.location {
        let location = location.replace("$host", host);
        let found = header(&answer.response_headers, "location").next().unwrap_or("none");
        if !same_location(&location, found) {
            return Some(format!("Location {found}"));
        }
    }
    for (name, value) in &expect.request_headers {
        let found: Vec<_> = header(&answer.request_headers, name).collect();
        let found = found.join(",");
        if found.split(',').map(str::trim).ne(value.split(',')) {
            return Some(format!("request header {name}: {found}"));
        }
    }
    let present = |name: &&&str| header(&answer.request_headers, name).next().is_some();
    expect.absent_request_headers.iter().find(present).map(|name| format!("request header {name} is present"))
}

/// Whether two locations are one: the well-known port of a scheme may be written or not.
fn same_location(wanted: &str, found: &str) -> bool {
    let plain = |url: &str| {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => "",
        };
        let host = if port.is_empty() { host } else { host.strip_suffix(port).unwrap_or(host) };
        format!("{scheme}://{host}{path}")
    };
    plain(wanted) == plain(found)
}

/// Expected shares in percent, for evidence.
pub(super) fn expected_shares(shares: &Shares) -> BTreeMap<String, f64> {
    let percent = |share: f64| (share * 1000.0).round() / 10.0;
    shares
        .weights
        .iter()
        .zip(shares.expected())
        .map(|((name, _), share)| ((*name).to_owned(), percent(share)))
        .collect()
}

/// Objects that the adapter made in a namespace: policies and routes of Istio.
pub(super) async fn translated(cx: &Context<'_>, namespace: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (api_version, kind) in [
        ("security.istio.io/v1", "AuthorizationPolicy"),
        ("networking.istio.io/v1", "VirtualService"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ] {
        // Evidence only: what cannot be read is left out.
        let objects = cx.environment.list(api_version, kind, Some(namespace), None).await.unwrap_or_default();
        found.extend(
            objects
                .iter()
                .filter(|object| items(&object["metadata"]["ownerReferences"]).next().is_some())
                .map(|object| format!("{kind} {}", object["metadata"]["name"].as_str().unwrap_or_default())),
        );
    }
    found
}
