//! Objects and sentences of parameters.

use serde_json::{Value, json};

use super::*;

fn params(value: &Value) -> ApplyParams {
    let mut whole = json!({"namespace": "shop", "service": "reviews"});
    for (key, value) in value.as_object().unwrap() {
        whole[key] = value.clone();
    }
    let validator = jsonschema::validator_for(&schemars::schema_for!(ApplyParams).to_value()).unwrap();
    assert!(validator.is_valid(&whole), "{whole}: {:?}", validator.iter_errors(&whole).collect::<Vec<_>>());
    serde_json::from_value(whole).unwrap()
}

fn spec(value: &Value) -> Spec {
    Spec::all(&params(value)).unwrap().remove(0)
}

#[test]
fn all_rule_parameters_become_fields_of_istio() {
    let spec = spec(&json!({
        "subsets": {"canary": {"track": "canary"}},
        "rules": [{
            "match": [{
                "headers": {"end-user": {"exact": "jason"}},
                "path": {"prefix": "/api"},
                "method": {"regex": "GET|HEAD"},
                "query": {"q": {"exact": "1"}},
                "source_labels": {"app": "productpage"},
                "source_namespace": "web",
            }],
            "fault": {"delay": {"fixed": "1s 500ms", "percent": 12.5}, "abort": {"status": 503}},
            "destinations": [{"subset": "canary", "weight": 60}, {"service": "reviews-next", "port": 80, "weight": 40}],
            "mirror": {"subset": "v2", "percent": 10},
            "timeout": "3s",
            "retries": {"attempts": 2, "per_try_timeout": "250ms", "on": ["5xx", "reset"]},
        }],
        "circuit_breaker": {
            "max_connections": 1, "max_pending_requests": 2, "max_requests": 3, "max_requests_per_connection": 4,
            "consecutive_errors": 5, "interval": "10s", "base_ejection_time": "30s", "max_ejection_percent": 100,
        },
        "load_balancer": "least-request",
        "mutual_tls": true,
    }));
    assert_eq!(
        objects::virtual_service(&spec).unwrap(),
        json!({"hosts": ["reviews"], "http": [
            {
                "match": [{
                    "headers": {"end-user": {"exact": "jason"}},
                    "uri": {"prefix": "/api"},
                    "method": {"regex": "GET|HEAD"},
                    "queryParams": {"q": {"exact": "1"}},
                    "sourceLabels": {"app": "productpage"},
                    "sourceNamespace": "web",
                }],
                "fault": {
                    "delay": {"fixedDelay": "1.500s", "percentage": {"value": 12.5}},
                    "abort": {"httpStatus": 503, "percentage": {"value": 100}},
                },
                "route": [
                    {"destination": {"host": "reviews", "subset": "canary"}, "weight": 60},
                    {"destination": {"host": "reviews-next", "port": {"number": 80}}, "weight": 40},
                ],
                "mirror": {"host": "reviews", "subset": "v2"},
                "mirrorPercentage": {"value": 10},
                "timeout": "3s",
                "retries": {"attempts": 2, "perTryTimeout": "0.250s", "retryOn": "5xx,reset"},
            },
            {"route": [{"destination": {"host": "reviews"}}]},
        ]})
    );
    assert_eq!(
        objects::destination_rule(&spec).unwrap(),
        json!({
            "host": "reviews",
            "trafficPolicy": {
                "connectionPool": {
                    "tcp": {"maxConnections": 1},
                    "http": {"http1MaxPendingRequests": 2, "http2MaxRequests": 3, "maxRequestsPerConnection": 4},
                },
                "outlierDetection": {
                    "consecutive5xxErrors": 5, "interval": "10s", "baseEjectionTime": "30s", "maxEjectionPercent": 100,
                },
                "loadBalancer": {"simple": "LEAST_REQUEST"},
                "tls": {"mode": "ISTIO_MUTUAL"},
            },
            "subsets": [
                {"name": "canary", "labels": {"track": "canary"}},
                {"name": "v2", "labels": {"version": "v2"}},
            ],
        })
    );
    assert_eq!(
        explain::rules(&spec),
        [
            "requests with header end-user = jason and path = /api… and method ~ GET|HEAD and query q = 1 and from pods \
             app=productpage and from namespace web: 12.5 % 1s 500ms late, 100 % answered with 503, 60 % to reviews \
             canary, 40 % to reviews-next, 10 % copied to reviews v2, at most 3s, repeated at most 2 times",
            "other requests: to all of reviews",
            "all clients: circuit breaker for reviews",
        ]
    );
}

#[test]
fn a_rule_for_every_request_needs_no_other_and_no_match() {
    let spec = spec(&json!({"rules": [{"match": [{}], "destinations": [{"subset": "v1"}]}]}));
    assert_eq!(
        objects::virtual_service(&spec).unwrap()["http"],
        json!([{"route": [{"destination": {"host": "reviews", "subset": "v1"}}]}])
    );
    let limits = json!({"circuit_breaker": {"max_connections": 1}});
    assert_eq!(objects::virtual_service(&self::spec(&limits)), None);
    let fault = json!({"rules": [{"fault": {"abort": {"status": 500}}}]});
    assert_eq!(objects::destination_rule(&self::spec(&fault)), None);
}

#[test]
fn contradictory_parameters_are_rejected_with_their_path() {
    let v1 = json!({"subset": "v1"});
    for (wrong, field, reason) in [
        (json!({}), "rules", "set at least one of rules"),
        (json!({"scenario": "all-v1"}), "scenario", "not both"),
        (
            json!({"rules": [{"destinations": [{"subset": "a", "weight": 60}, {"subset": "b", "weight": 30}]}]}),
            "rules",
            "rule 1: the weights of its destinations add up to 90",
        ),
        (json!({"rules": [{"destinations": [{"subset": "a", "weight": 50}]}]}), "rules", "add up to 50"),
        (
            json!({"rules": [{"destinations": [{"subset": "a", "weight": 100}, {"subset": "b"}]}]}),
            "rules",
            "each needs a weight",
        ),
        (
            json!({"rules": [{"destinations": [{"subset": "a", "weight": 50}, {"subset": "a", "weight": 50}]}]}),
            "rules",
            "there twice",
        ),
        (
            json!({"rules": [{"destinations": [v1]}, {"destinations": [v1]}]}),
            "rules",
            "rule 1: it matches all requests",
        ),
        (
            json!({"rules": [{"destinations": [{"subset": "a", "service": "b"}]}]}),
            "rules",
            "only the command's own service",
        ),
        (json!({"rules": [{"mirror": {"subset": "a", "service": "b"}}]}), "rules", "only the command's own service"),
        (json!({"rules": [{"fault": {}}]}), "rules", "neither delay nor abort"),
        (json!({"rules": [{"timeout": "0s"}]}), "rules", "above zero"),
        (json!({"circuit_breaker": {}}), "circuit_breaker", "no limit"),
        (json!({"circuit_breaker": {"interval": "0s"}}), "circuit_breaker", "above zero"),
    ] {
        let error = Spec::all(&params(&wrong)).unwrap_err();
        let Error::Parameter { field: at, reason: why } = &error else { panic!("{error}") };
        assert!(*at == field && why.contains(reason), "{wrong}: {error}");
    }
    let no_service = ApplyParams { service: None, ..params(&json!({"mutual_tls": true})) };
    assert!(Spec::all(&no_service).is_err());
    let both = ApplyParams { service: None, scenario: Some(Scenario::AllV1), ..params(&json!({"mutual_tls": true})) };
    assert!(Spec::all(&both).is_err());
}

#[test]
fn schema_rejects_values_that_no_cluster_accepts() {
    let validator = jsonschema::validator_for(&schemars::schema_for!(ApplyParams).to_value()).unwrap();
    let rule = |rule: Value| json!({"namespace": "shop", "service": "reviews", "rules": [rule]});
    for good in [rule(json!({})), rule(json!({"timeout": "1m 30s"}))] {
        assert!(validator.is_valid(&good), "{good}");
    }
    for bad in [
        json!({"service": "reviews"}),
        json!({"namespace": "shop", "scenario": "reviews-v9"}),
        json!({"namespace": "shop", "service": "reviews.shop"}),
        json!({"namespace": "shop", "service": "a", "subsets": {"B": {"a": "b"}}}),
        json!({"namespace": "shop", "service": "a", "subsets": {"b": {}}}),
        json!({"namespace": "shop", "service": "a", "subsets": {"b": {"a": "not a value"}}}),
        json!({"namespace": "shop", "service": "a", "subsets": {"b": {"a b": "c"}}}),
        rule(json!({"destinations": [{"weight": 101}]})),
        rule(json!({"match": [{"headers": {"End-User": {"exact": "a"}}}]})),
        rule(json!({"match": [{"path": {"suffix": "a"}}]})),
        rule(json!({"match": [{"path": {"exact": "a", "prefix": "b"}}]})),
        rule(json!({"fault": {"abort": {"status": 700}}})),
        rule(json!({"fault": {"delay": {"fixed": "1s", "percent": 0}}})),
        rule(json!({"timeout": "soon"})),
        rule(json!({"unknown": 1})),
    ] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}

#[test]
fn old_subsets_stay_until_no_route_names_them() {
    let rule = |names: &[&str]| {
        let subsets: Vec<_> = names.iter().map(|name| json!({"name": name, "labels": {"version": name}})).collect();
        json!({"host": "reviews", "trafficPolicy": {"tls": {}}, "subsets": subsets})
    };
    let bridge = objects::bridge(&rule(&["v1", "v2"]), Some(&rule(&["v3", "v1"]))).unwrap();
    assert_eq!(bridge, rule(&["v3", "v1", "v2"]));
    assert_eq!(objects::bridge(&rule(&["v1"]), Some(&rule(&["v1", "v2"]))), None);
    assert!(objects::adds_subsets(&rule(&["v1", "v2"]), Some(&rule(&["v1"]))));
    assert!(objects::adds_subsets(&rule(&["v1"]), None));
    assert!(!objects::adds_subsets(&rule(&["v1"]), Some(&rule(&["v2", "v1"]))));
    assert!(!objects::adds_subsets(&json!({"host": "reviews"}), None));
    let alone = objects::bridge(&rule(&["v1"]), None).unwrap();
    assert_eq!(alone, json!({"host": "reviews", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]}));
}

#[test]
fn only_a_gated_change_has_a_long_deadline() {
    use crate::task::Task as _;

    let mut params = Apply.example();
    assert_eq!(Apply.limits_for(&params).deadline, Duration::from_mins(10));
    params.gate = Some(serde_json::from_value(serde_json::json!({"connection": "mesh", "canary": "v2"})).unwrap());
    assert_eq!(Apply.limits_for(&params).deadline, Duration::from_hours(2));
}
