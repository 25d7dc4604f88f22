//! Each rule about a missing object, in five settings: a whole cluster, a part of one, a `GitOps` folder whose Helm releases
//! install more, a kustomization, and a controller that makes the object. In each there is a case that is reported and
//! one that is not.

use std::collections::BTreeMap;

use super::trees::{Tree, found};

/// A reference and what it refers to.
struct Reference {
    /// The rule or the field.
    what: &'static str,
    code: &'static str,
    /// The object with the reference.
    from: &'static str,
    /// The object that it refers to.
    to: &'static str,
    /// Evidence that such objects are known, without the one that is referred to; empty if `from` is evidence itself.
    evidence: &'static str,
    /// The namespace of the object that is missing; empty if only the whole cluster is evidence.
    namespace: &'static str,
    /// An object whose controller makes it; empty if no controller makes exactly such an object.
    made_by: &'static str,
    /// An object of the same kind whose controller makes something else.
    made_other: &'static str,
}

const CANARY: &str = "{apiVersion: flagger.app/v1beta1, kind: Canary, metadata: {name: cart, namespace: shop}, \
     spec: {targetRef: {kind: Deployment, name: cart}, service: {port: 80}}}";
const OTHER_CANARY: &str = "{apiVersion: flagger.app/v1beta1, kind: Canary, metadata: {name: stock, namespace: shop}, \
     spec: {targetRef: {kind: Deployment, name: stock}, service: {port: 80}}}";
const SERVICE: &str = "{apiVersion: v1, kind: Service, metadata: {name: cart, namespace: shop}, \
     spec: {selector: {app: cart}, ports: [{name: http, port: 80}]}}";
const OTHER_SERVICE: &str = "{apiVersion: v1, kind: Service, metadata: {name: stock, namespace: shop}, \
     spec: {selector: {app: stock}, ports: [{name: http, port: 80}]}}";
const WORKLOAD: &str = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: cart, namespace: shop}, \
     spec: {template: {metadata: {labels: {app: cart}}, spec: {containers: [{name: a, image: a}]}}}}";
const OTHER_WORKLOAD: &str = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: stock, namespace: shop}, \
     spec: {template: {metadata: {labels: {app: stock}}, spec: {containers: [{name: a, image: a}]}}}}";
const CLONES: &str = "{apiVersion: apps.kruise.io/v1alpha1, kind: CloneSet, metadata: {name: cart, namespace: shop}, \
     spec: {template: {metadata: {labels: {app: cart}}, spec: {containers: [{name: a, image: a}]}}}}";
const OTHER_CLONES: &str = "{apiVersion: apps.kruise.io/v1alpha1, kind: CloneSet, metadata: {name: basket, namespace: shop}, \
     spec: {template: {metadata: {labels: {app: basket}}, spec: {containers: [{name: a, image: a}]}}}}";
const ACCOUNT: &str = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: cart, namespace: shop}}";
const OTHER_ACCOUNT: &str = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: stock, namespace: shop}}";
const ACCOUNT_OF_GATEWAY: &str = "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: shop, \
     annotations: {gateway.istio.io/service-account: cart}}, spec: {gatewayClassName: istio, listeners: [{name: a, port: 80, protocol: HTTP}]}}";
const OTHER_GATEWAY: &str = "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: shop}, \
     spec: {gatewayClassName: istio, listeners: [{name: a, port: 80, protocol: HTTP}]}}";
const NAMESPACE: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: web, labels: {istio-injection: enabled}}}";
const NAMESPACES: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: kube-system}}\n---\n\
     {apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}\n---\n\
     {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}";
const ROUTE: &str = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: cart, namespace: shop}, \
     spec: {hosts: [a.example.com], http: [{route: [{destination: {host: cart}}]}]}}";
const GATEWAY: &str = "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: web, namespace: shop}, \
     spec: {selector: {istio: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}}";
const PROXY: &str = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: edge, namespace: shop}, \
     spec: {template: {metadata: {labels: {istio: edge}}, spec: {containers: [{name: istio-proxy, image: auto}]}}}}";
const OTHER_PROXY: &str = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: inner, namespace: shop}, \
     spec: {template: {metadata: {labels: {istio: inner}}, spec: {containers: [{name: istio-proxy, image: auto}]}}}}";
/// A Helm release, which installs what no file shows into a namespace.
fn release(namespace: &str) -> String {
    format!(
        "{{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, metadata: {{name: more, namespace: {namespace}}}, \
         spec: {{chart: {{spec: {{chart: more}}}}}}}}"
    )
}

const REFERENCES: &[Reference] = &[
    Reference {
        what: "host of a route",
        code: "IST0101",
        from: ROUTE,
        to: SERVICE,
        evidence: OTHER_SERVICE,
        namespace: "shop",
        made_by: CANARY,
        made_other: OTHER_CANARY,
    },
    Reference {
        what: "host of a DestinationRule",
        code: "IST0174",
        from: "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: cart, namespace: shop}, spec: {host: cart}}",
        to: SERVICE,
        evidence: OTHER_SERVICE,
        namespace: "shop",
        made_by: CANARY,
        made_other: OTHER_CANARY,
    },
    Reference {
        what: "subset of a route",
        code: "IST0101",
        from: "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: cart, namespace: shop}, \
               spec: {hosts: [cart], http: [{route: [{destination: {host: cart, subset: v1}}]}]}}",
        to: "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: cart, namespace: shop}, \
             spec: {host: cart, subsets: [{name: v1, labels: {app: cart}}]}}",
        evidence: SERVICE,
        namespace: "shop",
        made_by: "",
        made_other: "",
    },
    Reference {
        what: "labels of a subset",
        code: "IST0173",
        from: "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: cart, namespace: shop}, \
               spec: {host: cart, subsets: [{name: v2, labels: {version: v2}}]}}\n---\n\
               {apiVersion: v1, kind: Service, metadata: {name: cart, namespace: shop}, spec: {selector: {app: cart}, ports: [{name: http, port: 80}]}}",
        to: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: new, namespace: shop}, \
             spec: {template: {metadata: {labels: {app: cart, version: v2}}, spec: {containers: [{name: a, image: a}]}}}}",
        evidence: WORKLOAD,
        namespace: "shop",
        made_by: "{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: new, namespace: shop}, \
             spec: {template: {metadata: {labels: {app: cart, version: v2}}, spec: {containers: [{name: a, image: a}]}}}}",
        made_other: OTHER_CLONES,
    },
    Reference {
        what: "gateway of a VirtualService",
        code: "IST0101",
        from: "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: cart, namespace: shop}, \
               spec: {hosts: [a.example.com], gateways: [web], http: [{redirect: {authority: b.example.com}}]}}",
        to: "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: web, namespace: shop}, \
             spec: {selector: {istio: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}}\n---\n\
             {apiVersion: apps/v1, kind: Deployment, metadata: {name: edge, namespace: shop}, \
             spec: {template: {metadata: {labels: {istio: edge}}, spec: {containers: [{name: istio-proxy, image: auto}]}}}}",
        evidence: "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: other, namespace: shop}, \
               spec: {selector: {istio: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [b.example.com]}]}}",
        namespace: "shop",
        made_by: "",
        made_other: "",
    },
    Reference {
        what: "delegate of a route",
        code: "IST0101",
        from: "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: root, namespace: shop}, \
               spec: {hosts: [a.example.com], http: [{delegate: {name: leaf, namespace: web}}]}}",
        to: "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: leaf, namespace: web}, \
               spec: {http: [{redirect: {authority: b.example.com}}]}}",
        evidence: "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: other, namespace: web}, \
               spec: {http: [{redirect: {authority: b.example.com}}]}}",
        namespace: "web",
        made_by: "",
        made_other: "",
    },
    Reference {
        what: "selector of a Gateway",
        code: "IST0101",
        from: GATEWAY,
        to: PROXY,
        evidence: OTHER_PROXY,
        namespace: "",
        made_by: "{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: edge, namespace: shop}, \
             spec: {template: {metadata: {labels: {istio: edge}}, spec: {containers: [{name: istio-proxy, image: auto}]}}}}",
        made_other: OTHER_CLONES,
    },
    Reference {
        what: "credential of a Gateway",
        code: "IST0101",
        from: "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: web, namespace: shop}, \
               spec: {selector: {istio: edge}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], \
               tls: {mode: SIMPLE, credentialName: web-tls}}]}}\n---\n\
               {apiVersion: apps/v1, kind: Deployment, metadata: {name: edge, namespace: web}, \
               spec: {template: {metadata: {labels: {istio: edge}}, spec: {containers: [{name: istio-proxy, image: auto}]}}}}",
        to: "{apiVersion: v1, kind: Secret, metadata: {name: web-tls, namespace: web}}",
        evidence: "{apiVersion: v1, kind: Secret, metadata: {name: other-tls, namespace: web}}",
        namespace: "web",
        made_by: "{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: a, namespace: web}, spec: {secretName: web-tls}}",
        made_other: "{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: web-tls, namespace: web}, spec: {secretName: b}}",
    },
    Reference {
        what: "namespaces of an AuthorizationPolicy",
        code: "IST0101",
        from: "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: cart, namespace: shop}, \
               spec: {rules: [{from: [{source: {namespaces: [web]}}]}]}}",
        to: NAMESPACE,
        evidence: NAMESPACES,
        namespace: "",
        made_by: "",
        made_other: "",
    },
    Reference {
        what: "selector of a Sidecar",
        code: "IST0101",
        from: "{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: cart, namespace: shop}, \
               spec: {workloadSelector: {labels: {app: cart}}, egress: [{hosts: ['./*']}]}}",
        to: WORKLOAD,
        evidence: OTHER_WORKLOAD,
        namespace: "shop",
        made_by: CLONES,
        made_other: OTHER_CLONES,
    },
    Reference {
        what: "selector of a Telemetry",
        code: "IST0101",
        from: "{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: cart, namespace: shop}, \
               spec: {selector: {matchLabels: {app: cart}}, accessLogging: [{providers: [{name: envoy}]}]}}",
        to: WORKLOAD,
        evidence: OTHER_WORKLOAD,
        namespace: "shop",
        made_by: CLONES,
        made_other: OTHER_CLONES,
    },
    Reference {
        what: "selector of an AuthorizationPolicy",
        code: "IST0127",
        from: "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: cart, namespace: shop}, \
               spec: {selector: {matchLabels: {app: cart}}, rules: [{}]}}",
        to: WORKLOAD,
        evidence: OTHER_WORKLOAD,
        namespace: "shop",
        made_by: CLONES,
        made_other: OTHER_CLONES,
    },
    Reference {
        what: "selector of a PeerAuthentication",
        code: "SH7125",
        from: "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: cart, namespace: shop}, \
               spec: {selector: {matchLabels: {app: cart}}, mtls: {mode: STRICT}}}",
        to: WORKLOAD,
        evidence: OTHER_WORKLOAD,
        namespace: "shop",
        made_by: CLONES,
        made_other: OTHER_CLONES,
    },
    Reference {
        what: "host of an AuthorizationPolicy",
        code: "SH7103",
        from: "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: cart, namespace: shop}, \
               spec: {rules: [{to: [{operation: {hosts: [cart.shop.svc.cluster.local]}}]}]}}",
        to: SERVICE,
        evidence: OTHER_SERVICE,
        namespace: "shop",
        made_by: CANARY,
        made_other: OTHER_CANARY,
    },
    Reference {
        what: "host of a Sidecar",
        code: "SH7112",
        from: "{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: cart, namespace: shop}, \
               spec: {egress: [{hosts: ['./cart.shop.svc.cluster.local']}]}}",
        to: SERVICE,
        evidence: OTHER_SERVICE,
        namespace: "shop",
        made_by: CANARY,
        made_other: OTHER_CANARY,
    },
    Reference {
        what: "principal of an AuthorizationPolicy",
        code: "SH7105",
        from: "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: cart, namespace: shop}, \
               spec: {rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/cart]}}]}]}}",
        to: ACCOUNT,
        evidence: OTHER_ACCOUNT,
        namespace: "shop",
        made_by: ACCOUNT_OF_GATEWAY,
        made_other: OTHER_GATEWAY,
    },
    Reference {
        what: "service account of a WorkloadGroup",
        code: "SH7120",
        from: "{apiVersion: networking.istio.io/v1, kind: WorkloadGroup, metadata: {name: cart, namespace: shop}, \
               spec: {template: {serviceAccount: cart}}}",
        to: ACCOUNT,
        evidence: OTHER_ACCOUNT,
        namespace: "shop",
        made_by: ACCOUNT_OF_GATEWAY,
        made_other: OTHER_GATEWAY,
    },
    Reference {
        what: "exportTo",
        code: "SH7101",
        from: "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: cart, namespace: shop}, \
               spec: {host: '*.example.com', exportTo: [web]}}",
        to: NAMESPACE,
        evidence: NAMESPACES,
        namespace: "",
        made_by: "",
        made_other: "",
    },
    Reference {
        what: "parent of a route",
        code: "SH7141",
        from: "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: cart, namespace: shop}, \
               spec: {parentRefs: [{name: web}]}}",
        to: "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: web, namespace: shop}, \
             spec: {gatewayClassName: istio, listeners: [{name: a, port: 80, protocol: HTTP}]}}",
        evidence: OTHER_GATEWAY,
        namespace: "shop",
        made_by: "",
        made_other: "",
    },
    Reference {
        what: "listener set of a route",
        code: "SH7141",
        from: "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: cart, namespace: shop}, \
               spec: {parentRefs: [{kind: ListenerSet, name: more}]}}\n---\n\
               {apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: shop}, \
               spec: {gatewayClassName: istio, allowedListeners: {namespaces: {from: Same}}, listeners: [{name: a, port: 80, protocol: HTTP}]}}",
        to: "{apiVersion: gateway.networking.k8s.io/v1, kind: ListenerSet, metadata: {name: more, namespace: shop}, \
             spec: {parentRef: {name: edge}, listeners: [{name: a, port: 8080, protocol: HTTP}]}}",
        evidence: "{apiVersion: gateway.networking.k8s.io/v1, kind: ListenerSet, metadata: {name: other, namespace: shop}, \
             spec: {parentRef: {name: edge}, listeners: [{name: a, port: 8080, protocol: HTTP}]}}",
        namespace: "shop",
        made_by: "",
        made_other: "",
    },
    Reference {
        what: "gateway of a listener set",
        code: "SH7141",
        from: "{apiVersion: gateway.networking.k8s.io/v1, kind: ListenerSet, metadata: {name: more, namespace: shop}, \
             spec: {parentRef: {name: web}, listeners: [{name: a, port: 8080, protocol: HTTP}]}}",
        to: "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: web, namespace: shop}, \
             spec: {gatewayClassName: istio, allowedListeners: {namespaces: {from: Same}}, listeners: [{name: a, port: 80, protocol: HTTP}]}}",
        evidence: OTHER_GATEWAY,
        namespace: "shop",
        made_by: "",
        made_other: "",
    },
    Reference {
        what: "backend of a route",
        code: "SH7142",
        from: "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: cart, namespace: shop}, \
               spec: {rules: [{backendRefs: [{name: cart, port: 80}]}]}}",
        to: SERVICE,
        evidence: OTHER_SERVICE,
        namespace: "shop",
        made_by: CANARY,
        made_other: OTHER_CANARY,
    },
    Reference {
        what: "grant for a backend",
        code: "SH7143",
        from: "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: cart, namespace: shop}, \
               spec: {rules: [{backendRefs: [{name: cart, namespace: web, port: 80}]}]}}",
        to: "{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {name: a, namespace: web}, \
             spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}], to: [{group: '', kind: Service}]}}",
        evidence: "{apiVersion: v1, kind: Service, metadata: {name: cart, namespace: web}, spec: {ports: [{name: http, port: 80}]}}",
        namespace: "web",
        made_by: "",
        made_other: "",
    },
    Reference {
        what: "grant for a certificate",
        code: "SH7149",
        from: "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: shop}, \
               spec: {gatewayClassName: istio, listeners: [{name: a, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: tls, namespace: web}]}}]}}",
        to: "{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {name: a, namespace: web}, \
             spec: {from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: shop}], to: [{group: '', kind: Secret}]}}",
        evidence: "{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {name: b, namespace: web}, \
             spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}], to: [{group: '', kind: Service}]}}",
        namespace: "web",
        made_by: "",
        made_other: "",
    },
    Reference {
        what: "namespace of a grant",
        code: "SH7147",
        from: "{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {name: b, namespace: shop}, \
             spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: web}], to: [{group: '', kind: Service}]}}",
        to: NAMESPACE,
        evidence: NAMESPACES,
        namespace: "",
        made_by: "",
        made_other: "",
    },
    Reference {
        what: "class of a Gateway",
        code: "SH7146",
        from: "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: shop}, \
               spec: {gatewayClassName: corp, listeners: [{name: a, port: 80, protocol: HTTP}]}}",
        to: "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: corp}, spec: {controllerName: a.example.com/b}}",
        evidence: "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: other}, spec: {controllerName: a.example.com/b}}",
        namespace: "",
        made_by: "",
        made_other: "",
    },
    Reference {
        what: "waypoint of a Service",
        code: "SH7152",
        from: "{apiVersion: v1, kind: Service, metadata: {name: cart, namespace: shop, labels: {istio.io/use-waypoint: way}}, \
               spec: {ports: [{name: http, port: 80}]}}",
        to: "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: way, namespace: shop}, \
             spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}}",
        evidence: "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: other, namespace: shop}, \
             spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}}",
        namespace: "shop",
        made_by: "",
        made_other: "",
    },
    Reference {
        what: "authentication for request principals",
        code: "SH7136",
        from: "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: cart, namespace: shop}, \
               spec: {selector: {matchLabels: {app: cart}}, rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}}",
        to: "{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {name: a, namespace: shop}, \
             spec: {selector: {matchLabels: {app: cart}}, jwtRules: [{issuer: a}]}}",
        evidence: "{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {name: b, namespace: shop}, \
             spec: {selector: {matchLabels: {app: stock}}, jwtRules: [{issuer: a}]}}",
        namespace: "shop",
        made_by: "",
        made_other: "",
    },
    Reference {
        what: "policy that requires a token",
        code: "SH7223",
        from: "{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {name: a, namespace: shop}, \
             spec: {jwtRules: [{issuer: a}]}}",
        to: "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a, namespace: shop}, \
               spec: {rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}}",
        evidence: "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: b, namespace: shop}, \
               spec: {rules: [{from: [{source: {namespaces: [shop]}}]}]}}",
        namespace: "shop",
        made_by: "",
        made_other: "",
    },
    Reference {
        what: "service of a webhook",
        code: "IST0139",
        from: "{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: istio-sidecar-injector}, \
               webhooks: [{name: a.istio.io, clientConfig: {service: {name: cart, namespace: shop}}}]}",
        to: SERVICE,
        evidence: OTHER_SERVICE,
        namespace: "shop",
        made_by: CANARY,
        made_other: OTHER_CANARY,
    },
];

/// Whether the code is reported at its own level; without evidence some rules report at a lower one and say so.
fn is_reported(files: &[(&str, &[&str])], code: &str, whole_cluster: bool) -> bool {
    let mut tree: Tree = BTreeMap::new();
    for (name, texts) in files {
        let texts: Vec<&str> = texts.iter().copied().filter(|text| !text.is_empty()).collect();
        tree.insert((*name).to_owned(), texts.join("\n---\n"));
    }
    let (found, unread) = found(&tree, whole_cluster);
    assert!(unread.is_empty(), "{unread:?} {tree:?}");
    found.iter().any(|it| it.code.id == code && it.level >= it.code.level)
}

#[test]
fn missing_object_is_reported_in_a_whole_cluster() {
    let mut wrong = Vec::new();
    for Reference { what, code, from, to, evidence, .. } in REFERENCES {
        // Only some objects of a kind show that the others are missing: a rule may need one of the cluster.
        if !is_reported(&[("a.yaml", &[from, evidence])], code, true) {
            wrong.push(format!("{what}: a missing object is not reported"));
        }
        if is_reported(&[("a.yaml", &[from, to, evidence])], code, true) {
            wrong.push(format!("{what}: an object that exists is reported"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn missing_object_is_reported_in_a_part_of_a_cluster_with_evidence_only() {
    let mut wrong = Vec::new();
    for Reference { what, code, from, to, evidence, .. } in REFERENCES {
        for (text, wanted) in [
            (&[*from][..], false),
            (&[*from, *evidence][..], true),
            (&[*from, *to][..], false),
            (&[*from, *evidence, *to][..], false),
        ] {
            if is_reported(&[("a.yaml", text)], code, false) != wanted {
                wrong.push(format!("{what}: {} objects, expected {wanted}", text.len()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn release_in_a_gitops_folder_may_install_referenced_objects() {
    let mut wrong = Vec::new();
    for Reference { what, code, from, evidence, namespace, .. } in REFERENCES {
        let near = if namespace.is_empty() { "shop" } else { namespace };
        if is_reported(&[("apps/a.yaml", &[from, evidence]), ("releases/b.yaml", &[&release(near)])], code, false) {
            wrong.push(format!("{what}: reported although a release may install it"));
        }
        // What is installed into another namespace is no reason to be silent about a Service, workload or account.
        let is_local = ["shop"].contains(namespace)
            && ["IST0173", "IST0174", "SH7125", "SH7103", "SH7112", "SH7105", "SH7120", "SH7142"].contains(code);
        let far = release("elsewhere");
        if is_local && !is_reported(&[("apps/a.yaml", &[from, evidence]), ("releases/b.yaml", &[&far])], code, false) {
            wrong.push(format!("{what}: not reported because of a release in another namespace"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn missing_object_is_reported_in_a_kustomization_that_is_built() {
    let base = "resources: [a.yaml]\n";
    let overlay = "resources: [../base]\nlabels: [{pairs: {stage: prod}}]\n";
    let inexact = "resources: [../base]\ntransformers: [a.yaml]\n";
    let mut wrong = Vec::new();
    for Reference { what, code, from, to, evidence, .. } in REFERENCES {
        for (overlay, texts, wanted) in [
            (overlay, &[*from, *evidence][..], true),
            (overlay, &[*from, *evidence, *to][..], false),
            (inexact, &[*from, *evidence][..], false),
        ] {
            let files: [(&str, &[&str]); 3] =
                [("base/kustomization.yaml", &[base]), ("base/a.yaml", texts), ("prod/kustomization.yaml", &[overlay])];
            if is_reported(&files, code, false) != wanted {
                wrong.push(format!("{what}: {} objects, expected {wanted}: {overlay}", texts.len()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn object_that_a_controller_makes_is_not_reported() {
    let mut wrong = Vec::new();
    for Reference { what, code, from, evidence, made_by, made_other, .. } in REFERENCES {
        if !made_by.is_empty() && is_reported(&[("a.yaml", &[from, evidence, made_by])], code, false) {
            wrong.push(format!("{what}: reported although a controller makes it"));
        }
        if !made_other.is_empty() && !is_reported(&[("a.yaml", &[from, evidence, made_other])], code, false) {
            wrong.push(format!("{what}: not reported although the controller makes something else"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn hosts_of_a_gateway_that_was_not_read_are_not_judged() {
    let route = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: cart, namespace: shop}, \
                 spec: {hosts: [a.example.com], gateways: [edge/web], http: [{redirect: {authority: b.example.com}}]}}";
    let (found, _) = found(&Tree::from([("a.yaml".to_owned(), route.to_owned())]), false);
    let finding = found.iter().find(|it| it.code.id == "IST0132").unwrap();
    assert!(finding.level < finding.code.level, "{finding:?}");
    assert!(finding.message.ends_with("is not known: the Gateway was not read"), "{}", finding.message);
}
