//! The descriptions are consistent in themselves and have the counts and ports of the originals.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::entry::Served;
use super::*;

const ALL: [Name; 3] = [Name::Bookinfo, Name::Httpbin, Name::OnlineBoutique];

fn objects(params: &DeployParams, served: Option<Served>) -> Vec<Value> {
    let namespace = params.application.namespace(params.namespace.as_ref());
    let objects = wanted(params, &namespace, served);
    objects.into_iter().map(|object| serde_json::to_value(object).unwrap()).collect()
}

fn plain(name: Name) -> Vec<Value> {
    objects(&DeployParams::of(name), None)
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn as_many_objects_as_the_originals() {
    for (application, counts) in [
        (Name::Bookinfo, [("ServiceAccount", 4), ("Service", 4), ("Deployment", 6)]),
        (Name::Httpbin, [("ServiceAccount", 1), ("Service", 1), ("Deployment", 1)]),
        (Name::OnlineBoutique, [("ServiceAccount", 11), ("Service", 12), ("Deployment", 12)]),
    ] {
        let objects = plain(application);
        for (kind, count) in counts {
            assert_eq!(of_kind(&objects, kind).len(), count, "{application:?} {kind}");
        }
        let all: BTreeSet<_> = objects.iter().map(|object| (object["kind"].to_string(), name(object))).collect();
        assert_eq!(
            all.len(),
            counts.iter().map(|(_, count)| count).sum::<usize>(),
            "{application:?}: a name is there twice"
        );
    }
}

#[test]
fn as_many_ports_as_the_originals() {
    for (application, ports) in [
        (Name::Bookinfo, "details 9080>9080 productpage 9080>9080 ratings 9080>9080 reviews 9080>9080"),
        (Name::Httpbin, "httpbin 8000>8080"),
        (
            Name::OnlineBoutique,
            "adservice 9555>9555 cartservice 7070>7070 checkoutservice 5050>5050 currencyservice 7000>7000 \
             emailservice 5000>8080 frontend 80>8080 frontend-external 80>8080 paymentservice 50051>50051 \
             productcatalogservice 3550>3550 recommendationservice 8080>8080 redis-cart 6379>6379 \
             shippingservice 50051>50051",
        ),
    ] {
        let objects = plain(application);
        let services = of_kind(&objects, "Service");
        let found: BTreeSet<_> = services
            .iter()
            .map(|it| {
                format!("{} {}>{}", name(it), it["spec"]["ports"][0]["port"], it["spec"]["ports"][0]["targetPort"])
            })
            .collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>().join(" "), ports, "{application:?}");
    }
}

#[test]
fn each_service_finds_pods_that_listen_at_its_port() {
    for objects in ALL.map(plain) {
        for service in of_kind(&objects, "Service") {
            let selector = service["spec"]["selector"].as_object().unwrap();
            let behind: Vec<_> = of_kind(&objects, "Deployment")
                .into_iter()
                .filter(|it| {
                    let labels = &it["spec"]["template"]["metadata"]["labels"];
                    selector.iter().all(|(key, value)| labels[key] == *value)
                })
                .collect();
            assert!(!behind.is_empty(), "{service:#}");
            for deployment in behind {
                assert_eq!(
                    container(deployment)["ports"][0]["containerPort"],
                    service["spec"]["ports"][0]["targetPort"]
                );
            }
        }
    }
}

#[test]
fn each_address_in_the_environment_is_a_service_of_the_application() {
    let objects = plain(Name::OnlineBoutique);
    let services: BTreeSet<_> = of_kind(&objects, "Service")
        .iter()
        .map(|it| format!("{}:{}", name(it), it["spec"]["ports"][0]["port"]))
        .collect();
    for deployment in of_kind(&objects, "Deployment") {
        for variable in container(deployment)["env"].as_array().into_iter().flatten() {
            let (variable, value) = (variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap());
            if variable.ends_with("_ADDR") && variable != "SHOPPING_ASSISTANT_SERVICE_ADDR" {
                assert!(services.contains(value), "{}: {variable} {value}", name(deployment));
            }
        }
    }
}

#[test]
fn each_deployment_is_whole() {
    for objects in ALL.map(plain) {
        let accounts: BTreeSet<_> = of_kind(&objects, "ServiceAccount").into_iter().map(name).collect();
        for deployment in of_kind(&objects, "Deployment") {
            let spec = &deployment["spec"];
            let template = &spec["template"];
            for (key, value) in spec["selector"]["matchLabels"].as_object().unwrap() {
                assert_eq!(template["metadata"]["labels"][key], *value, "{deployment:#}");
            }
            if let Some(account) = template["spec"]["serviceAccountName"].as_str() {
                assert!(accounts.contains(account), "{account}");
            }
            let container = container(deployment);
            let image = container["image"].as_str().unwrap();
            let tag = image.rsplit_once(':').unwrap().1;
            assert!(tag.contains(|c: char| c.is_ascii_digit()) && !image.contains('{'), "{image} is not pinned");
            let asked = &container["resources"]["requests"];
            assert!(asked["cpu"].is_string() && asked["memory"].is_string(), "{deployment:#}");
            assert_eq!(container.get("ports").is_some(), container.get("readinessProbe").is_some(), "{deployment:#}");
            let mounted = container["volumeMounts"].as_array().map_or(0, Vec::len);
            assert_eq!(template["spec"]["volumes"].as_array().map_or(0, Vec::len), mounted);
        }
    }
}

#[test]
fn every_object_can_be_found_by_its_labels() {
    for (application, objects) in ALL.map(|name| (name.application().name, plain(name))) {
        for object in objects {
            let labels = &object["metadata"]["labels"];
            assert_eq!(labels["app.kubernetes.io/part-of"], application);
            assert_eq!(labels["app.kubernetes.io/managed-by"], "sailhand");
            assert_eq!(object["metadata"]["namespace"], application);
        }
    }
}

#[test]
fn each_entry_leads_to_a_port_of_a_service() {
    for name in ALL {
        for served in [Served::Istio("networking.istio.io/v1beta1"), Served::GatewayApi("gateway.networking.k8s.io/v1")]
        {
            let objects = objects(&DeployParams::of(name), Some(served));
            let [gateway, route] = objects.last_chunk().unwrap();
            assert_eq!(gateway["kind"], "Gateway");
            assert_eq!(gateway["apiVersion"], route["apiVersion"]);
            let (host, port, parent) = match served {
                Served::Istio(_) => {
                    let to = &route["spec"]["http"][0]["route"][0]["destination"];
                    (&to["host"], &to["port"]["number"], &route["spec"]["gateways"][0])
                }
                Served::GatewayApi(_) => {
                    let to = &route["spec"]["rules"][0]["backendRefs"][0];
                    (&to["name"], &to["port"], &route["spec"]["parentRefs"][0]["name"])
                }
            };
            assert_eq!(*parent, gateway["metadata"]["name"]);
            let service = of_kind(&objects, "Service").into_iter().find(|it| it["metadata"]["name"] == *host).unwrap();
            assert_eq!(service["spec"]["ports"][0]["port"], *port);
        }
    }
}

#[test]
fn bookinfos_entry_is_that_of_istio() {
    let mut params = DeployParams::of(Name::Bookinfo);
    params.hosts = vec!["books.example".to_owned()];
    let of = |served| {
        let objects = objects(&params, Some(served));
        objects.into_iter().rev().take(2).map(|it| it["spec"].clone()).collect::<Vec<_>>()
    };
    let matches = json!([
        {"uri": {"exact": "/productpage"}}, {"uri": {"exact": "/login"}}, {"uri": {"exact": "/logout"}},
        {"uri": {"prefix": "/static"}}, {"uri": {"prefix": "/api/v1/products"}},
    ]);
    assert_eq!(
        of(Served::Istio("networking.istio.io/v1")),
        [
            json!({"hosts": ["books.example"], "gateways": ["bookinfo-gateway"], "http": [{
                "match": matches, "route": [{"destination": {"host": "productpage", "port": {"number": 9080}}}],
            }]}),
            json!({"selector": {"istio": "ingressgateway"}, "servers": [{
                "port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["books.example"],
            }]}),
        ]
    );
    let gateway_api = of(Served::GatewayApi("gateway.networking.k8s.io/v1"));
    assert_eq!(gateway_api[0]["hostnames"], json!(["books.example"]));
    assert_eq!(gateway_api[1]["gatewayClassName"], "istio");
}

#[test]
fn the_load_generator_and_the_registry_are_choices() {
    let mut params = DeployParams::of(Name::OnlineBoutique);
    params.load_generator = false;
    params.registry = Some("mirror.example/hub".to_owned());
    params.namespace = Some(Namespace::known("shop"));
    let objects = objects(&params, None);
    assert_eq!(of_kind(&objects, "Deployment").len(), 11);
    assert_eq!(of_kind(&objects, "ServiceAccount").len(), 10);
    for deployment in of_kind(&objects, "Deployment") {
        assert!(container(deployment)["image"].as_str().unwrap().starts_with("mirror.example/hub/"));
        assert_eq!(deployment["metadata"]["namespace"], "shop");
    }
}

#[test]
fn parameters_fit_their_schema() {
    let validator = |schema: schemars::Schema| jsonschema::validator_for(&schema.to_value()).unwrap();
    let deploy = validator(schemars::schema_for!(DeployParams));
    let remove = validator(schemars::schema_for!(RemoveParams));
    assert!(deploy.is_valid(&serde_json::to_value(Deploy.example()).unwrap()));
    assert!(remove.is_valid(&serde_json::to_value(Remove.example()).unwrap()));
    let least = json!({"application": "httpbin"});
    assert_eq!(serde_json::from_value::<DeployParams>(least.clone()).unwrap(), DeployParams::of(Name::Httpbin));
    assert!(deploy.is_valid(&least) && remove.is_valid(&least));
    let with = |field: &str, value: Value| json!({"application": "bookinfo", field: value});
    for (field, value) in [
        ("namespace", json!("Shop")),
        ("hosts", json!([])),
        ("hosts", json!(["a b"])),
        ("registry", json!("https://x")),
        ("entry", json!("nginx")),
        ("wait", json!("soon")),
        ("unknown", json!(1)),
    ] {
        assert!(!deploy.is_valid(&with(field, value.clone())), "{field} {value}");
    }
    for (field, value) in [
        ("hosts", json!(["*", "*.shop.example", "shop.example"])),
        ("registry", json!("m.example:5000/a")),
        ("wait", json!("5m")),
    ] {
        let params = with(field, value);
        assert!(deploy.is_valid(&params) && serde_json::from_value::<DeployParams>(params.clone()).is_ok(), "{params}");
    }
}

#[test]
fn each_application_in_each_namespace_is_an_installation_of_its_own() {
    let mut keys = BTreeMap::new();
    for name in ALL {
        for namespace in [None, Some(Namespace::known("shop"))] {
            let mut deploy = DeployParams::of(name);
            let mut remove = RemoveParams::of(name);
            (deploy.namespace, remove.namespace) = (namespace.clone(), namespace);
            let key = Deploy.installation(&deploy).unwrap();
            assert_eq!(Some(&key), Remove.installation(&remove).as_ref());
            assert!(Namespace::try_from(key.clone()).is_ok(), "{key}");
            assert!(keys.insert(key, name).is_none());
        }
    }
}
