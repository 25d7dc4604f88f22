//! Bookinfo's scenarios, named as Istio names its files for them (samples/bookinfo/networking). Pure; knows no cluster.
//! Its entry is `sample.deploy`'s; `certmanager-gateway` and `egress-rule-google-apis` are about other hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::params::{Abort, Delay, Destination, Fault, LoadBalancer, Match, Rule, Text};
use super::spec::Spec;

/// A scenario by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// All four services to v1.
    AllV1,
    /// The user jason to reviews v2, others to v1.
    ReviewsTestV2,
    /// The user jason to reviews v2, others to v3.
    ReviewsJasonV2V3,
    /// Reviews: 80 % to v1, 20 % to v2.
    #[serde(rename = "reviews-80-20")]
    Reviews80To20,
    /// Reviews: 90 % to v1, 10 % to v2.
    #[serde(rename = "reviews-90-10")]
    Reviews90To10,
    /// Reviews: half to v1, half to v3.
    #[serde(rename = "reviews-50-v3")]
    Reviews50V3,
    /// Reviews: half to v2, half to v3.
    ReviewsV2V3,
    /// Reviews: all to v3.
    ReviewsV3,
    /// Ratings responds to the user jason after 7 s.
    RatingsTestDelay,
    /// Ratings responds to the user jason with HTTP 500.
    RatingsTestAbort,
    /// Details responds with HTTP 555.
    FaultInjectionDetailsV1,
    /// Details v2, which calls an API outside the cluster.
    DetailsV2,
    /// Reviews v3 with ratings v2, which stores its data in a database.
    RatingsDb,
    /// Reviews v3 with ratings v2-mysql.
    RatingsMysql,
    /// Reviews v3 with ratings v2-mysql-vm.
    RatingsMysqlVm,
    /// Subsets of all four services, without rules.
    DestinationRuleAll,
    /// Subsets of all four services with explicit `ISTIO_MUTUAL`.
    DestinationRuleAllMtls,
    /// Subsets of reviews with the load balancer `random`.
    DestinationRuleReviews,
}

impl Scenario {
    /// Parameters for each of its services.
    #[must_use]
    pub fn specs(self) -> Vec<Spec> {
        let reviews = |rules| vec![Spec::of("reviews", rules)];
        let jason = |to: &str, others: &str| vec![Rule { matches: jason(), ..to_one(to) }, to_one(others)];
        let ratings = |fault| {
            let rule = Rule { matches: self::jason(), fault: Some(fault), ..to_one("v1") };
            vec![Spec::of("ratings", vec![rule, to_one("v1")])]
        };
        let with_ratings =
            |subset: &str| vec![Spec::of("reviews", vec![to_one("v3")]), Spec::of("ratings", vec![to_one(subset)])];
        match self {
            Self::AllV1 => {
                ["productpage", "reviews", "ratings", "details"].map(|it| Spec::of(it, vec![to_one("v1")])).into()
            }
            Self::ReviewsTestV2 => reviews(jason("v2", "v1")),
            Self::ReviewsJasonV2V3 => reviews(jason("v2", "v3")),
            Self::Reviews80To20 => reviews(vec![split(("v1", 80), ("v2", 20))]),
            Self::Reviews90To10 => reviews(vec![split(("v1", 90), ("v2", 10))]),
            Self::Reviews50V3 => reviews(vec![split(("v1", 50), ("v3", 50))]),
            Self::ReviewsV2V3 => reviews(vec![split(("v2", 50), ("v3", 50))]),
            Self::ReviewsV3 => reviews(vec![to_one("v3")]),
            Self::RatingsTestDelay => {
                let delay = Delay { fixed: Duration::from_secs(7), percent: 100.0 };
                ratings(Fault { delay: Some(delay), abort: None })
            }
            Self::RatingsTestAbort => {
                ratings(Fault { delay: None, abort: Some(Abort { status: 500, percent: 100.0 }) })
            }
            Self::FaultInjectionDetailsV1 => {
                let fault = Fault { delay: None, abort: Some(Abort { status: 555, percent: 100.0 }) };
                vec![Spec::of("details", vec![Rule { fault: Some(fault), ..to_one("v1") }])]
            }
            Self::DetailsV2 => vec![Spec::of("details", vec![to_one("v2")])],
            Self::RatingsDb => with_ratings("v2"),
            Self::RatingsMysql => with_ratings("v2-mysql"),
            Self::RatingsMysqlVm => with_ratings("v2-mysql-vm"),
            Self::DestinationRuleAll => all(false),
            Self::DestinationRuleAllMtls => all(true),
            Self::DestinationRuleReviews => {
                let subsets = versions(&["v1", "v2", "v3"]);
                let load_balancer = Some(LoadBalancer::Random);
                vec![Spec { subsets, load_balancer, ..Spec::of("reviews", Vec::new()) }]
            }
        }
    }
}

fn all(mutual_tls: bool) -> Vec<Spec> {
    let services: [(&str, &[&str]); 4] = [
        ("productpage", &["v1"]),
        ("reviews", &["v1", "v2", "v3"]),
        ("ratings", &["v1", "v2", "v2-mysql", "v2-mysql-vm"]),
        ("details", &["v1", "v2"]),
    ];
    services.map(|(service, of)| Spec { subsets: versions(of), mutual_tls, ..Spec::of(service, Vec::new()) }).into()
}

fn versions(versions: &[&str]) -> BTreeMap<String, BTreeMap<String, String>> {
    versions.iter().map(|version| ((*version).to_owned(), Spec::version(version))).collect()
}

/// The user jason of Bookinfo's product page.
fn jason() -> Vec<Match> {
    let headers = BTreeMap::from([("end-user".to_owned(), Text::Exact("jason".to_owned()))]);
    vec![Match { headers, ..Match::default() }]
}

fn to_one(subset: &str) -> Rule {
    Rule { destinations: vec![to(subset, None)], ..Rule::default() }
}

fn split(one: (&str, u8), other: (&str, u8)) -> Rule {
    Rule { destinations: [one, other].map(|(subset, weight)| to(subset, Some(weight))).into(), ..Rule::default() }
}

fn to(subset: &str, weight: Option<u8>) -> Destination {
    Destination { subset: Some(subset.to_owned()), weight, ..Destination::default() }
}
