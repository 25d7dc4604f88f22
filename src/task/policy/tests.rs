//! Objects, refusals and warnings of parameters.

use serde_json::{Value, json};

use super::facts::{Facts, Pod};
use super::*;

fn params(value: &Value) -> ApplyParams {
    let validator = jsonschema::validator_for(&schemars::schema_for!(ApplyParams).to_value()).unwrap();
    assert!(validator.is_valid(value), "{value}: {:?}", validator.iter_errors(value).collect::<Vec<_>>());
    serde_json::from_value(value.clone()).unwrap()
}

fn policy(value: &Value) -> Policy {
    Policy::of(&params(value)).unwrap()
}

fn namespace() -> Value {
    json!({"of": "namespace", "namespace": "shop"})
}

#[test]
fn each_policy_becomes_its_object() {
    let workload = json!({"of": "workload", "namespace": "shop", "labels": {"app": "web"}});
    let selector = json!({"matchLabels": {"app": "web"}});
    for (asked, kind, place, spec) in [
        (
            json!({"scope": {"of": "mesh"}, "mtls": {"mode": "strict"}}),
            Kind::Mtls,
            "istio-system/default",
            json!({"mtls": {"mode": "STRICT"}}),
        ),
        (
            json!({"scope": workload, "name": "web", "mtls": {"mode": "strict", "ports": {"8080": "disable"}}}),
            Kind::Mtls,
            "shop/web",
            json!({"selector": selector, "mtls": {"mode": "STRICT"}, "portLevelMtls": {"8080": {"mode": "DISABLE"}}}),
        ),
        (
            json!({"scope": namespace(), "preset": "deny-all-policy-operation"}),
            Kind::Access,
            "shop/deny-all",
            json!({"action": "ALLOW"}),
        ),
        (
            json!({"scope": namespace(), "preset": "strict-mtls-policy-operation"}),
            Kind::Mtls,
            "shop/default",
            json!({"mtls": {"mode": "STRICT"}}),
        ),
        (
            json!({"scope": namespace(), "preset": "mutual-mtls-policy-operation"}),
            Kind::Mtls,
            "shop/default",
            json!({"mtls": {"mode": "PERMISSIVE"}}),
        ),
        (
            json!({"scope": namespace(), "preset": "disable-mtls-policy-operation"}),
            Kind::Mtls,
            "shop/default",
            json!({"mtls": {"mode": "DISABLE"}}),
        ),
        (
            json!({"scope": workload, "name": "web-callers", "access": {"action": "allow", "rules": [
                {"principals": ["cluster.local/ns/shop/sa/page"], "namespaces": ["shop"], "methods": ["GET"],
                 "paths": ["/api/*"], "ports": [8080]},
                {"methods": ["HEAD"]},
            ]}}),
            Kind::Access,
            "shop/web-callers",
            json!({"selector": selector, "action": "ALLOW", "rules": [
                {
                    "from": [{"source": {"principals": ["cluster.local/ns/shop/sa/page"], "namespaces": ["shop"]}}],
                    "to": [{"operation": {"methods": ["GET"], "paths": ["/api/*"], "ports": ["8080"]}}],
                },
                {"to": [{"operation": {"methods": ["HEAD"]}}]},
            ]}),
        ),
        (
            json!({"scope": namespace(), "name": "no-admin", "access": {"action": "deny", "rules": [{"paths": ["/admin*"]}]}}),
            Kind::Access,
            "shop/no-admin",
            json!({"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/admin*"]}}]}]}),
        ),
    ] {
        let policy = policy(&asked);
        assert_eq!(policy.kind, kind, "{asked}");
        assert_eq!(format!("{}/{}", policy.namespace, policy.name), place, "{asked}");
        assert_eq!(policy.spec(), spec, "{asked}");
    }
}

#[test]
fn contradictory_parameters_are_rejected() {
    let strict = json!({"mode": "strict"});
    for (wrong, field) in [
        (json!({"scope": namespace()}), "preset"),
        (json!({"scope": namespace(), "mtls": strict, "access": {"action": "allow"}}), "preset"),
        (json!({"scope": {"of": "namespace"}, "mtls": strict}), "scope.namespace"),
        (json!({"scope": {"of": "workload", "namespace": "shop"}, "mtls": strict}), "scope.labels"),
        (
            json!({"scope": {"of": "namespace", "namespace": "shop", "labels": {"a": "b"}}, "mtls": strict}),
            "scope.labels",
        ),
        (json!({"scope": {"of": "workload", "namespace": "shop", "labels": {"a": "b"}}, "mtls": strict}), "name"),
        (json!({"scope": namespace(), "mtls": {"mode": "strict", "ports": {"80": "disable"}}}), "mtls.ports"),
        (json!({"scope": namespace(), "access": {"action": "deny"}}), "access.rules"),
        (json!({"scope": namespace(), "name": "a", "access": {"action": "deny", "rules": [{}]}}), "access.rules"),
        (json!({"scope": namespace(), "access": {"action": "allow", "rules": [{"methods": ["GET"]}]}}), "name"),
    ] {
        let error = Policy::of(&params(&wrong)).unwrap_err();
        assert!(matches!(error, Error::Parameter { field: at, .. } if at == field), "{wrong}: {error}");
    }
    let port = json!({
        "scope": {"of": "workload", "namespace": "shop", "labels": {"a": "b"}}, "name": "a",
        "mtls": {"mode": "strict", "ports": {"99999": "disable"}},
    });
    assert!(Policy::of(&params(&port)).is_err());
    let validator = jsonschema::validator_for(&schemars::schema_for!(ApplyParams).to_value()).unwrap();
    for bad in [
        json!({"scope": namespace(), "mtls": {"mode": "off"}}),
        json!({"scope": namespace(), "mtls": {"mode": "strict", "ports": {"http": "disable"}}}),
        json!({"scope": namespace(), "preset": "deny-all"}),
        json!({"scope": namespace(), "access": {"action": "allow", "rules": [{"paths": ["a*b*c"]}]}}),
        json!({"scope": namespace(), "access": {"action": "allow", "rules": [{"methods": ["get"]}]}}),
    ] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}

fn pod(namespace: &str, name: &str, proxy: bool) -> Pod {
    Pod {
        name: name.into(),
        namespace: namespace.into(),
        labels: json!({"app": name}),
        proxy,
        ambient: false,
        gateway: false,
        probes_pass: true,
    }
}

fn live(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

#[test]
fn strict_mtls_warns_of_clients_without_proxy() {
    let facts = Facts {
        pods: vec![
            pod("shop", "web", true),
            pod("shop", "old", false),
            Pod { probes_pass: false, ..pod("shop", "probed", true) },
        ],
        rules: vec![
            live("shop", "plain", &json!({"host": "web", "trafficPolicy": {"tls": {"mode": "DISABLE"}}})),
            live(
                "far",
                "port",
                &json!({"host": "web.shop.svc.cluster.local", "subsets": [
                    {"trafficPolicy": {"portLevelSettings": [{"tls": {"mode": "SIMPLE"}}]}},
                ]}),
            ),
            live("far", "own", &json!({"host": "web", "trafficPolicy": {"tls": {"mode": "DISABLE"}}})),
            live("shop", "good", &json!({"host": "web", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}})),
        ],
        mtls: vec![live("shop", "exception", &json!({"selector": {"matchLabels": {"app": "web"}}}))],
        ..Facts::default()
    };
    let strict = policy(&json!({"scope": namespace(), "mtls": {"mode": "strict"}}));
    assert_eq!(
        preflight::warnings(&strict, &facts),
        [
            "strict mTLS rejects requests from 1 pod without a proxy, and does not apply to requests that such pods \
             receive: shop/old",
            "strict mTLS rejects HTTP probes of the kubelet, because sidecar.istio.io/rewriteAppHTTPProbers is false, for \
             1 pod: shop/probed",
            "requests of clients are rejected, because DestinationRules set another TLS mode: DestinationRule far/port, \
             DestinationRule shop/plain",
            "policies with a narrower scope override this one: PeerAuthentication shop/exception",
        ]
    );
    let permissive = policy(&json!({"scope": namespace(), "mtls": {"mode": "permissive"}}));
    assert_eq!(preflight::warnings(&permissive, &facts).len(), 1, "only the narrower policy");
    let disable = policy(&json!({"scope": namespace(), "mtls": {"mode": "disable"}}));
    assert!(preflight::warnings(&disable, &facts)[0].contains("DestinationRule shop/good"));
}

#[test]
fn newer_policy_for_the_same_workloads_is_named() {
    let facts = Facts {
        mtls: vec![
            live("shop", "strict", &json!({"mtls": {"mode": "STRICT"}})),
            live("shop", "web", &json!({"selector": {"matchLabels": {"app": "web"}}})),
            live("far", "default", &json!({})),
        ],
        ..Facts::default()
    };
    let whole = policy(&json!({"scope": namespace(), "mtls": {"mode": "strict"}}));
    assert_eq!(preflight::conflicts(&whole, &facts), ["PeerAuthentication shop/strict"]);
    let scope = json!({"of": "workload", "namespace": "shop", "labels": {"app": "web"}});
    let web = policy(&json!({"scope": scope, "name": "mine", "mtls": {"mode": "strict"}}));
    assert_eq!(preflight::conflicts(&web, &facts), ["PeerAuthentication shop/web"]);
}

#[test]
fn lists_report_hidden_parts() {
    let port = |name: &str| json!({"ports": [{"name": name, "port": 80}]});
    let facts = Facts {
        pods: vec![pod("shop", "old", false)],
        mtls: vec![live("shop", "off", &json!({"mtls": {"mode": "DISABLE"}}))],
        services: vec![live("shop", "db", &port("tcp")), live("shop", "web", &port("http-web"))],
        access: vec![live("shop", "others", &json!({"rules": [{}]})), live("shop", "all", &json!({}))],
        ..Facts::default()
    };
    let access = json!({"action": "allow", "rules": [{"namespaces": ["shop"], "methods": ["GET"]}]});
    let warnings = preflight::warnings(&policy(&json!({"scope": namespace(), "name": "a", "access": access})), &facts);
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    for (one, text) in
        warnings.iter().zip(["shop/old", "PeerAuthentication shop/off", "Service shop/db port 80", "shop/others"])
    {
        assert!(one.ends_with(text), "{warnings:?}");
    }
}

#[test]
fn warnings_name_locked_out_gateways_and_ztunnel_pods() {
    let facts = Facts {
        pods: vec![
            Pod { gateway: true, ..pod("istio-system", "ingress", true) },
            Pod { ambient: true, ..pod("shop", "web", true) },
        ],
        ..Facts::default()
    };
    let warnings = |scope: Value, access: Value| {
        preflight::warnings(&policy(&json!({"scope": scope, "name": "a", "access": access})), &facts)
    };
    let mesh = json!({"of": "mesh"});
    let nobody = warnings(mesh.clone(), json!({"action": "allow", "rules": []}));
    assert!(nobody.len() == 1 && nobody[0].ends_with("gateways too: istio-system/ingress"), "{nobody:?}");
    let known = warnings(mesh.clone(), json!({"action": "allow", "rules": [{"namespaces": ["shop"]}]}));
    assert_eq!(known.len(), 1, "{known:?}");
    assert!(warnings(mesh.clone(), json!({"action": "allow", "rules": [{"ports": [80]}]})).is_empty());
    assert!(warnings(mesh, json!({"action": "deny", "rules": [{"namespaces": ["shop"]}]})).is_empty());
    let paths = warnings(namespace(), json!({"action": "deny", "rules": [{"paths": ["/admin*"]}]}));
    assert!(paths.len() == 1 && paths[0].ends_with("because of this policy: shop/web"), "{paths:?}");
}
