//! The descriptions are consistent in themselves, and others find what they look for.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

const ALL: [Name; 6] = [Name::Prometheus, Name::Grafana, Name::Kiali, Name::Jaeger, Name::Zipkin, Name::Loki];

fn objects(addon: Name, change: impl Fn(&mut ApplyParams)) -> Vec<Value> {
    let mut params = ApplyParams { addon, ..Apply.example() };
    change(&mut params);
    wanted(&params).into_iter().map(|object| serde_json::to_value(object).unwrap()).collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

#[test]
fn services_have_the_names_and_ports_of_istios_addons() {
    let found: Vec<_> = ALL
        .iter()
        .flat_map(|addon| {
            let objects = objects(*addon, |_| {});
            let services = of_kind(&objects, "Service").into_iter().map(|service| {
                let ports = service["spec"]["ports"].as_array().unwrap().iter();
                let ports: Vec<_> = ports.map(|port| port["port"].to_string()).collect();
                format!("{} {}", service["metadata"]["name"].as_str().unwrap(), ports.join("/"))
            });
            services.collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(
        found,
        [
            "prometheus 9090",
            "grafana 3000",
            "kiali 20001/9090",
            "tracing 80/16685",
            "zipkin 9411",
            "jaeger-collector 14268/14250/9411/4317/4318",
            "zipkin 9411",
            "tracing 80",
            "loki 3100/9095",
        ]
    );
}

#[test]
fn each_deployment_is_complete_and_restricted() {
    for addon in ALL {
        let objects = objects(addon, |_| {});
        let deployments = of_kind(&objects, "Deployment");
        let [deployment] = deployments.as_slice() else { panic!("{addon:?}") };
        let template = &deployment["spec"]["template"];
        let selector = deployment["spec"]["selector"]["matchLabels"].as_object().unwrap();
        for service in of_kind(&objects, "Service") {
            assert_eq!(service["spec"]["selector"].as_object().unwrap(), selector);
        }
        for (key, value) in selector {
            assert_eq!(template["metadata"]["labels"][key], *value);
        }
        assert_eq!(template["metadata"]["labels"]["sidecar.istio.io/inject"], "false");
        let pod = &template["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        let container = &pod["containers"][0];
        let image = container["image"].as_str().unwrap();
        assert!(image.rsplit_once(':').unwrap().1.contains(|c: char| c.is_ascii_digit()), "{image} is not pinned");
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        let volumes: BTreeSet<_> = pod["volumes"].as_array().unwrap().iter().map(|it| it["name"].to_string()).collect();
        let mounts = container["volumeMounts"].as_array().unwrap();
        assert_eq!(mounts.iter().map(|it| it["name"].to_string()).collect::<BTreeSet<_>>(), volumes);
        let keys: BTreeSet<_> = of_kind(&objects, "ConfigMap")
            .iter()
            .flat_map(|map| map["data"].as_object().unwrap().keys().cloned())
            .collect();
        let mounted = mounts.iter().filter_map(|it| it["subPath"].as_str().map(str::to_owned));
        assert_eq!(mounted.collect::<BTreeSet<_>>(), keys, "{addon:?}");
        for rule in of_kind(&objects, "ClusterRole") {
            for rule in rule["rules"].as_array().unwrap() {
                assert_eq!(rule["verbs"], json!(["get", "list", "watch"]), "an addon writes nothing");
            }
        }
        assert_eq!(of_kind(&objects, "ClusterRole").is_empty(), pod["automountServiceAccountToken"] == false);
    }
}

#[test]
fn only_the_page_to_open_is_exposed() {
    let kinds = |expose| {
        let objects = objects(Name::Jaeger, |params| params.expose = expose);
        of_kind(&objects, "Service").iter().map(|it| it["spec"]["type"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(Expose::ClusterIp), ["ClusterIP", "ClusterIP", "ClusterIP"]);
    assert_eq!(kinds(Expose::NodePort), ["NodePort", "ClusterIP", "ClusterIP"]);
    assert_eq!(kinds(Expose::LoadBalancer), ["LoadBalancer", "ClusterIP", "ClusterIP"]);
}

#[test]
fn grafana_finds_prometheus_and_its_dashboards() {
    let objects = objects(Name::Grafana, |params| params.namespace = Namespace::known("mesh"));
    let data = &of_kind(&objects, "ConfigMap")[0]["data"];
    let read = |key: &str| serde_json::from_str::<Value>(data[key].as_str().unwrap()).unwrap();
    let sources = read("datasources.yaml")["datasources"].clone();
    assert_eq!((&sources[0]["url"], &sources[0]["isDefault"]), (&json!("http://prometheus.mesh:9090"), &json!(true)));
    for file in ["mesh.json", "service.json", "workload.json", "control-plane.json", "ambient.json"] {
        let variable = &read(file)["templating"]["list"][0];
        assert_eq!((&variable["type"], &variable["current"]["value"]), (&json!("datasource"), &sources[0]["uid"]));
    }
}

#[test]
fn named_prometheus_is_queried() {
    let url = "http://prometheus.monitoring:9090";
    for (addon, file) in [(Name::Grafana, "datasources.yaml"), (Name::Kiali, "config.yaml")] {
        let text = |named: Option<&str>| {
            let objects = objects(addon, |params| params.prometheus_url = named.map(str::to_owned));
            of_kind(&objects, "ConfigMap")[0]["data"][file].as_str().unwrap().to_owned()
        };
        assert!(text(None).contains(r#""url":"http://prometheus.istio-system:9090""#), "{addon:?}");
        let named = text(None).replace("http://prometheus.istio-system:9090", url);
        assert_eq!(text(Some(url)), named.replace(r#""jsonData":{"timeInterval":"15s"},"#, ""), "{addon:?}");
    }
    let of = |addon| ApplyParams { addon, prometheus_url: Some(url.to_owned()), ..Apply.example() };
    assert!(of(Name::Kiali).check().is_ok());
    let Err(Error::Parameter { field, reason }) = of(Name::Loki).check() else { panic!("Loki asks no Prometheus") };
    assert_eq!((field, reason.as_str()), ("prometheus_url", "loki asks no Prometheus; Grafana and Kiali do"));
}

#[test]
fn a_changed_configuration_makes_a_new_pod() {
    let annotation = |namespace: &'static str| {
        let objects = objects(Name::Grafana, |params| params.namespace = Namespace::known(namespace));
        let template = &of_kind(&objects, "Deployment")[0]["spec"]["template"];
        template["metadata"]["annotations"]["sailhand.meshery.io/configuration"].clone()
    };
    assert_ne!(annotation("one"), annotation("two"));
    assert_eq!(annotation("one"), annotation("one"));
}

#[test]
fn addresses_and_mirrors_match_the_parameters() {
    assert_eq!(Name::Jaeger.addon().url("mesh"), "http://tracing.mesh/jaeger");
    assert_eq!(Name::Kiali.addon().url("mesh"), "http://kiali.mesh:20001/kiali");
    let objects = objects(Name::Loki, |params| params.registry = Some("mirror.example/hub".to_owned()));
    let image = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, "mirror.example/hub/grafana/loki:3.6.5");
}

#[test]
fn parameters_have_defaults_and_bounds() {
    let validator = jsonschema::validator_for(&schemars::schema_for!(ApplyParams).to_value()).unwrap();
    let least = json!({"addon": "prometheus"});
    assert!(validator.is_valid(&least));
    assert_eq!(serde_json::from_value::<ApplyParams>(least).unwrap(), Apply.example());
    for bad in [json!({"addon": "skywalking"}), json!({"addon": "loki", "expose": "anyone"}), json!({})] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
    let valid = |url: &str| validator.is_valid(&json!({"addon": "grafana", "prometheus_url": url}));
    for good in ["http://prometheus.monitoring:9090", "https://metrics.example/prom/", "http://[2001:db8::1]:9090"] {
        assert!(valid(good), "{good}");
    }
    // Grafana puts variables and files into what it reads; a password would lie open in a ConfigMap.
    for bad in ["prometheus:9090", "ftp://one", "http://one/$__file{/etc/passwd}", "http://me:secret@one", "http://a b"]
    {
        assert!(!valid(bad), "{bad}");
    }
}
