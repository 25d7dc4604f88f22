//! Objects that controllers make: a reference to one is not reported, whichever controller makes it. Each case has a twin
//! whose controller makes something else, for which the code is reported, so that the absence of a finding is meaningful.

use super::trees::{Tree, found};

struct Case {
    /// The controller and what it makes.
    what: &'static str,
    /// The reference.
    from: &'static str,
    code: &'static str,
    /// The object that a controller reads.
    maker: &'static str,
    /// Replacement in it, after which the controller makes something else.
    twin: (&'static str, &'static str),
}

/// Objects of the same kinds as those that are referred to: evidence that the others are missing.
const EVIDENCE: &str = "\
{apiVersion: v1, kind: Service, metadata: {name: other, namespace: shop}, spec: {ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Secret, metadata: {name: other, namespace: edge}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: other, namespace: shop}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: other, namespace: shop}, spec: {template: {metadata: {labels: {app: other}}, \
 spec: {containers: [{name: a, image: a}]}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: edge, namespace: edge}, spec: {template: {metadata: {labels: {istio: edge}}, \
 spec: {containers: [{name: istio-proxy, image: auto}]}}}}
";

macro_rules! route {
    ($host:literal) => {
        concat!(
            "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a, namespace: shop}, ",
            "spec: {hosts: [a.example.com], http: [{route: [{destination: {host: ",
            $host,
            "}}]}]}}"
        )
    };
}

macro_rules! policy {
    ($key:literal, $value:literal) => {
        concat!(
            "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a, namespace: shop}, ",
            "spec: {selector: {matchLabels: {",
            $key,
            ": ",
            $value,
            "}}, rules: [{}]}}"
        )
    };
}

/// A Gateway whose pods are in the namespace `edge`.
const CREDENTIAL: &str = "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: a, namespace: shop}, \
     spec: {selector: {istio: edge}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], \
     tls: {mode: SIMPLE, credentialName: web-tls}}]}}";

const PRINCIPAL: &str = "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a, namespace: shop}, \
     spec: {rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web-istio]}}]}]}}";

const CASES: &[Case] = &[
    Case {
        what: "istiod: the Service of a Gateway",
        from: route!("web-istio"),
        code: "IST0101",
        maker: "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: web, namespace: shop}, \
                spec: {gatewayClassName: istio, listeners: [{name: a, port: 80, protocol: HTTP}]}}",
        twin: ("name: web", "name: webb"),
    },
    Case {
        what: "istiod: the Service of a Gateway with another name",
        from: route!("front"),
        code: "IST0101",
        maker: "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: web, namespace: shop, \
                annotations: {gateway.istio.io/name-override: front}}, \
                spec: {gatewayClassName: istio, listeners: [{name: a, port: 80, protocol: HTTP}]}}",
        twin: ("front", "back"),
    },
    Case {
        what: "istiod: the Service of a waypoint",
        from: route!("way"),
        code: "IST0101",
        maker: "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: way, namespace: shop}, \
                spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}}",
        twin: ("istio-waypoint", "istio"),
    },
    Case {
        what: "istiod: the service account of a Gateway",
        from: PRINCIPAL,
        code: "SH7105",
        maker: "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: web, namespace: shop}, \
                spec: {gatewayClassName: istio, listeners: [{name: a, port: 80, protocol: HTTP}]}}",
        twin: ("namespace: shop", "namespace: elsewhere"),
    },
    Case {
        what: "istiod: the pods of a Gateway",
        from: policy!("gateway.networking.k8s.io/gateway-name", "web"),
        code: "IST0127",
        maker: "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: web, namespace: shop}, \
                spec: {gatewayClassName: istio, listeners: [{name: a, port: 80, protocol: HTTP}]}}",
        twin: ("name: web", "name: webb"),
    },
    Case {
        what: "cert-manager: the Secret of a Certificate",
        from: CREDENTIAL,
        code: "IST0101",
        maker: "{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: a, namespace: edge}, spec: {secretName: web-tls}}",
        twin: ("edge", "shop"),
    },
    Case {
        what: "cert-manager: the Secret of an Ingress",
        from: CREDENTIAL,
        code: "IST0101",
        maker: "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a, namespace: edge, annotations: {cert-manager.io/issuer: ca}}, \
                spec: {tls: [{hosts: [a.example.com], secretName: web-tls}]}}",
        twin: ("cert-manager.io/issuer", "example.com/issuer"),
    },
    Case {
        what: "cert-manager: the Secret of a Gateway",
        from: CREDENTIAL,
        code: "IST0101",
        maker: "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: b, namespace: edge, annotations: {cert-manager.io/cluster-issuer: ca}}, \
                spec: {gatewayClassName: istio, listeners: [{name: a, port: 443, protocol: HTTPS, hostname: a.example.com, tls: {certificateRefs: [{name: web-tls}]}}]}}",
        twin: ("cert-manager.io/cluster-issuer", "example.com/issuer"),
    },
    Case {
        what: "External Secrets Operator",
        from: CREDENTIAL,
        code: "IST0101",
        maker: "{apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: {name: a, namespace: edge}, spec: {target: {name: web-tls}}}",
        twin: ("name: web-tls", "name: other-tls"),
    },
    Case {
        what: "External Secrets Operator in many namespaces",
        from: CREDENTIAL,
        code: "IST0101",
        maker: "{apiVersion: external-secrets.io/v1, kind: ClusterExternalSecret, metadata: {name: web-tls}, spec: {externalSecretSpec: {}}}",
        twin: ("name: web-tls", "name: other-tls"),
    },
    Case {
        what: "Sealed Secrets",
        from: CREDENTIAL,
        code: "IST0101",
        maker: "{apiVersion: bitnami.com/v1alpha1, kind: SealedSecret, metadata: {name: web-tls, namespace: edge}, spec: {encryptedData: {}}}",
        twin: ("edge", "shop"),
    },
    Case {
        what: "Flagger: the Service of the primary",
        from: route!("cart-primary"),
        code: "IST0101",
        maker: "{apiVersion: flagger.app/v1beta1, kind: Canary, metadata: {name: a, namespace: shop}, \
                spec: {targetRef: {kind: Deployment, name: cart}, service: {port: 80}}}",
        twin: ("name: cart", "name: basket"),
    },
    Case {
        what: "Flagger: the pods of the primary",
        from: policy!("app", "cart-primary"),
        code: "IST0127",
        maker: "{apiVersion: flagger.app/v1beta1, kind: Canary, metadata: {name: a, namespace: shop}, \
                spec: {targetRef: {kind: Deployment, name: cart}, service: {port: 80}}}",
        twin: ("name: cart", "name: basket"),
    },
    Case {
        what: "Argo Rollouts: pods of the template",
        from: policy!("app", "cart"),
        code: "IST0127",
        maker: "{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: cart, namespace: shop}, \
                spec: {template: {metadata: {labels: {app: cart}}, spec: {containers: [{name: a, image: a}]}}}}",
        twin: ("app: cart", "app: basket"),
    },
    Case {
        what: "Argo Rollouts: pods of a Deployment elsewhere",
        from: policy!("app", "cart"),
        code: "IST0127",
        maker: "{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: cart, namespace: shop}, \
                spec: {workloadRef: {apiVersion: apps/v1, kind: Deployment, name: cart}}}",
        twin: ("namespace: shop", "namespace: elsewhere"),
    },
    Case {
        what: "Knative: the Service",
        from: route!("hello"),
        code: "IST0101",
        maker: "{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: hello, namespace: shop}, \
                spec: {template: {spec: {containers: [{image: a}]}}}}",
        twin: ("name: hello", "name: bye"),
    },
    Case {
        what: "Knative: the pods",
        from: policy!("serving.knative.dev/service", "hello"),
        code: "IST0127",
        maker: "{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: hello, namespace: shop}, \
                spec: {template: {spec: {containers: [{image: a}]}}}}",
        twin: ("name: hello", "name: bye"),
    },
    Case {
        what: "KServe: the Service of the predictor",
        from: route!("iris-predictor"),
        code: "IST0101",
        maker: "{apiVersion: serving.kserve.io/v1beta1, kind: InferenceService, metadata: {name: iris, namespace: shop}, \
                spec: {predictor: {model: {modelFormat: {name: sklearn}}}}}",
        twin: ("name: iris", "name: rose"),
    },
    Case {
        what: "KServe: the pods",
        from: policy!("serving.kserve.io/inferenceservice", "iris"),
        code: "IST0127",
        maker: "{apiVersion: serving.kserve.io/v1beta1, kind: InferenceService, metadata: {name: iris, namespace: shop}, \
                spec: {predictor: {model: {modelFormat: {name: sklearn}}}}}",
        twin: ("namespace: shop", "namespace: elsewhere"),
    },
    Case {
        what: "Kubeflow: the Service of a Notebook",
        from: route!("lab"),
        code: "IST0101",
        maker: "{apiVersion: kubeflow.org/v1, kind: Notebook, metadata: {name: lab, namespace: shop}, \
                spec: {template: {spec: {containers: [{name: lab, image: a}]}}}}",
        twin: ("metadata: {name: lab", "metadata: {name: office"),
    },
    Case {
        what: "Kubeflow: the pods of a Notebook",
        from: policy!("statefulset", "lab"),
        code: "IST0127",
        maker: "{apiVersion: kubeflow.org/v1, kind: Notebook, metadata: {name: lab, namespace: shop}, \
                spec: {template: {spec: {containers: [{name: lab, image: a}]}}}}",
        twin: ("metadata: {name: lab", "metadata: {name: office"),
    },
    Case {
        what: "Kubeflow: labels of a Notebook are on its pods",
        from: policy!("team", "data"),
        code: "IST0127",
        maker: "{apiVersion: kubeflow.org/v1, kind: Notebook, metadata: {name: lab, namespace: shop, labels: {team: data}}, \
                spec: {template: {spec: {containers: [{name: lab, image: a}]}}}}",
        twin: ("team: data", "team: sales"),
    },
    Case {
        what: "Strimzi: the bootstrap Service",
        from: route!("events-kafka-bootstrap"),
        code: "IST0101",
        maker: "{apiVersion: kafka.strimzi.io/v1, kind: Kafka, metadata: {name: events, namespace: shop}, spec: {kafka: {}}}",
        twin: ("name: events", "name: logs"),
    },
    Case {
        what: "Strimzi: the pods",
        from: policy!("strimzi.io/cluster", "events"),
        code: "IST0127",
        maker: "{apiVersion: kafka.strimzi.io/v1, kind: Kafka, metadata: {name: events, namespace: shop}, spec: {kafka: {}}}",
        twin: ("namespace: shop", "namespace: elsewhere"),
    },
    Case {
        what: "Flux: a HelmRelease",
        from: route!("cart"),
        code: "IST0101",
        maker: "{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, metadata: {name: a, namespace: flux-system}, \
                spec: {targetNamespace: shop, chart: {spec: {chart: a}}}}",
        twin: ("targetNamespace: shop", "targetNamespace: elsewhere"),
    },
    Case {
        what: "Argo CD: an Application",
        from: route!("cart"),
        code: "IST0101",
        maker: "{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: a, namespace: argocd}, \
                spec: {source: {chart: a}, destination: {namespace: shop}}}",
        twin: ("namespace: shop", "namespace: elsewhere"),
    },
    Case {
        what: "Sail operator: the pods of the control plane's namespace",
        from: "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a, namespace: shop}, \
               spec: {hosts: [a.example.com], http: [{route: [{destination: {host: istiod.mesh.svc.cluster.local}}]}]}}\n---\n\
               {apiVersion: v1, kind: Service, metadata: {name: other, namespace: mesh}, spec: {ports: [{name: http, port: 80}]}}",
        code: "IST0101",
        maker: "{apiVersion: sailoperator.io/v1, kind: Istio, metadata: {name: default}, spec: {namespace: mesh}}",
        twin: ("namespace: mesh", "namespace: elsewhere"),
    },
    Case {
        what: "an operator: what has a pod template",
        from: policy!("app", "cart"),
        code: "IST0127",
        maker: "{apiVersion: apps.example.com/v1, kind: Fleet, metadata: {name: cart, namespace: shop}, \
                spec: {podTemplate: {metadata: {labels: {app: cart}}, spec: {containers: [{name: a, image: a}]}}}}",
        twin: ("app: cart", "app: basket"),
    },
    Case {
        what: "an operator: what has no pod template",
        from: policy!("app", "cart"),
        code: "IST0127",
        maker: "{apiVersion: db.example.com/v1, kind: Cluster, metadata: {name: a, namespace: shop}, \
                spec: {selector: {matchLabels: {app: cart}}, size: 3}}",
        twin: ("namespace: shop", "namespace: elsewhere"),
    },
];

#[test]
fn reference_to_a_generated_object_is_not_reported() {
    let reported = |from: &str, maker: &str, code: &str| {
        let tree = Tree::from([("a.yaml".to_owned(), [EVIDENCE, from, maker].join("\n---\n"))]);
        let (found, unread) = found(&tree, false);
        assert!(unread.is_empty(), "{unread:?}");
        found.iter().any(|it| it.code.id == code && it.level == it.code.level && it.object.name == "a")
    };
    let mut wrong = Vec::new();
    for Case { what, from, code, maker, twin } in CASES {
        assert!(maker.contains(twin.0), "{what}: the twin changes nothing");
        if reported(from, maker, code) {
            wrong.push(format!("{what}: {code} is reported"));
        }
        if !reported(from, &maker.replace(twin.0, twin.1), code) {
            wrong.push(format!("{what}: {code} is not reported for the twin"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
