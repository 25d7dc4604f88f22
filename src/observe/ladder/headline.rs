//! The result of a check in one sentence, without the words of the contract.

use super::{Cause, Diagnosis, Rung};

/// What the store lacks, as the end of a sentence that begins with its name.
#[must_use]
pub fn headline(rung: Rung, findings: &[Diagnosis]) -> &'static str {
    let has = |cause: Cause| findings.iter().any(|one| one.cause == cause);
    match rung {
        Rung::Unreachable => "does not answer",
        Rung::Reachable if has(Cause::NoAnswer) => "is not ready to answer queries",
        Rung::Reachable => "refuses the requests of the worker",
        Rung::Authorized => "is not a Prometheus-compatible store",
        Rung::Prometheus if has(Cause::AgentMode) => "is a Prometheus agent, which answers no queries",
        Rung::Prometheus if has(Cause::NotPrometheus) => "answers queries with an error",
        Rung::Prometheus if has(Cause::Stale) => "has no recent samples",
        Rung::Prometheus => "has no samples, because it scrapes nothing",
        Rung::Fresh if has(Cause::ProxiesNotScraped) => "has metrics of istiod, but of no proxy",
        Rung::Fresh if has(Cause::NothingScrapesIstio) || has(Cause::OtherStore) => "has no metrics of Istio",
        Rung::Fresh => "has no metrics of Istio's proxies",
        Rung::ScrapesIstio => "has metrics of Istio, but not of every proxy",
        Rung::Complete => "has metrics of every proxy, but some numbers are wrong or missing",
        Rung::Correct => "has metrics of every proxy, and nothing that falsifies them was found",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::envelope::Unusable;
    use crate::observe::ladder::{info, no_answer, unusable};

    #[test]
    fn headline_names_what_is_missing() {
        let of = |(rung, finding): (Rung, Diagnosis)| headline(rung, &[finding]);
        let about = |cause| info(cause, String::new(), "");
        assert_eq!(of((Rung::Unreachable, no_answer("refused"))), "does not answer");
        assert_eq!(of(unusable(&Unusable::Refused { status: 401 })), "refuses the requests of the worker");
        let starts = Unusable::NotReady { status: 503, text: "Service Unavailable".to_owned() };
        assert_eq!(of(unusable(&starts)), "is not ready to answer queries");
        let page = Unusable::Foreign { api: "Prometheus", status: 200, reason: "the body is HTML".to_owned() };
        assert_eq!(of(unusable(&page)), "is not a Prometheus-compatible store");
        assert_eq!(of(unusable(&Unusable::Agent)), "is a Prometheus agent, which answers no queries");
        let error = Unusable::Query { kind: "internal".to_owned(), message: String::new(), status: 500 };
        assert_eq!(of(unusable(&error)), "answers queries with an error");
        assert_eq!(of((Rung::Prometheus, about(Cause::Stale))), "has no recent samples");
        assert_eq!(
            of((Rung::Prometheus, about(Cause::MonitorNotSelected))),
            "has no samples, because it scrapes nothing"
        );
        assert_eq!(of((Rung::Fresh, about(Cause::NothingScrapesIstio))), "has no metrics of Istio");
        assert_eq!(of((Rung::Fresh, about(Cause::PodsForbidden))), "has no metrics of Istio's proxies");
        assert_eq!(of((Rung::Fresh, about(Cause::ProxiesNotScraped))), "has metrics of istiod, but of no proxy");
        assert_eq!(
            of((Rung::ScrapesIstio, about(Cause::TargetsMissing))),
            "has metrics of Istio, but not of every proxy"
        );
        assert!(headline(Rung::Complete, &[]).contains("some numbers are wrong"));
        assert!(headline(Rung::Correct, &[]).contains("every proxy"));
    }
}
