//! What `istioctl analyze` has reported though nothing was wrong, by the numbers of the issues in istio/istio: it is
//! silent here. Each case has a twin that is wrong, in which the same code is reported, so that silence means something.

use std::collections::BTreeSet;
use std::num::NonZero;

use sailhand::analysis::source::{self, Sources};
use sailhand::analysis::{Snapshot, mesh, rules, run};

/// 2026-01-01.
const NOW: i64 = 1_767_225_600;

struct Case {
    /// The issue, and what it is about.
    issue: &'static str,
    /// What must not be reported.
    code: &'static str,
    manifests: &'static str,
    /// What makes it wrong: this text replaced by that.
    twin: (&'static str, &'static str),
}

fn reported(text: &str) -> BTreeSet<&'static str> {
    let mut sources = Sources::default();
    sources.add("case.yaml", text.to_owned());
    let one = NonZero::<usize>::MIN;
    let reading = source::read(&sources, one);
    assert!(reading.errors.is_empty(), "{:?}", reading.errors);
    let settings = mesh::settings_in(&reading.resources, NOW);
    let snapshot = Snapshot::new(reading.resources, settings);
    run(&snapshot, rules::ALL, one).iter().map(|finding| finding.code.id).collect()
}

#[test]
fn what_is_right_is_not_reported_and_its_wrong_twin_is() {
    let mut wrong = Vec::new();
    for Case { issue, code, manifests, twin: (from, to) } in CASES {
        assert!(manifests.contains(from), "{issue}: the twin changes nothing");
        if reported(manifests).contains(code) {
            wrong.push(format!("{issue}: {code} is reported"));
        }
        if !reported(&manifests.replace(from, to)).contains(code) {
            wrong.push(format!("{issue}: {code} is not reported for the wrong twin"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const CASES: &[Case] = &[
    Case {
        issue: "#22698: a host of another namespace by its full name",
        code: "IST0101",
        manifests: "
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: default}
spec: {ports: [{port: 42, name: tcp-test}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cross-namespace, namespace: istio-system}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews.default.svc.cluster.local}}]}]}
",
        twin: ("host: reviews.default", "host: review.default"),
    },
    Case {
        issue: "#26222: a Service of another namespace without a ServiceEntry",
        code: "IST0101",
        manifests: "
apiVersion: v1
kind: Service
metadata: {name: foo, namespace: foo-ns}
spec: {ports: [{port: 8080, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: foo, namespace: bar-ns}
spec: {hosts: [foo.example.com], http: [{route: [{destination: {host: foo.foo-ns.svc.cluster.local}}]}]}
",
        twin: ("name: foo, namespace: foo-ns", "name: food, namespace: foo-ns"),
    },
    Case {
        issue: "#39629: a Service exported elsewhere, routed to from its own namespace",
        code: "IST0101",
        manifests: "
apiVersion: v1
kind: Service
metadata: {name: name, namespace: namespace-1, annotations: {networking.istio.io/exportTo: namespace-2}}
spec: {ports: [{port: 80, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: name, namespace: namespace-1}
spec: {hosts: [name], http: [{route: [{destination: {host: name}}]}]}
",
        twin: ("spec: {hosts: [name],", "spec: {hosts: [name], exportTo: [namespace-3],"),
    },
    Case {
        issue: "#46269: a ServiceEntry and a VirtualService exported to one other namespace",
        code: "IST0101",
        manifests: "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: test-se, namespace: ns-1}
spec: {exportTo: ['.', ns-2], hosts: [httpbin.org], ports: [{name: https, number: 443, protocol: HTTPS}], resolution: DNS}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: test-vs, namespace: ns-1}
spec: {exportTo: [ns-2], hosts: [httpbin.org], tcp: [{route: [{destination: {host: httpbin.org, port: {number: 443}}}]}]}
",
        twin: ("exportTo: [ns-2]", "exportTo: [ns-3]"),
    },
    Case {
        issue: "#46597, #46599: a ServiceEntry exported to the namespace that routes to it",
        code: "IST0101",
        manifests: "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: external, namespace: foo}
spec: {hosts: [foobar.staging.mesh], exportTo: [bar], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: foo-route, namespace: bar}
spec: {hosts: [foo.example.com], exportTo: ['.'], http: [{route: [{destination: {host: foobar.staging.mesh, port: {number: 80}}}]}]}
",
        twin: ("exportTo: [bar]", "exportTo: [baz]"),
    },
    Case {
        issue: "#42561: a VirtualService that names one host in two forms",
        code: "IST0109",
        manifests: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: dashboard, namespace: services}
spec:
  gateways: [istio-system/internal, mesh]
  hosts: [dashboard.staging.internal, dashboard, dashboard.services.svc.cluster.local]
  http: [{route: [{destination: {host: dashboard}}]}]
",
        twin: (
            "route: [{destination: {host: dashboard}}]}]",
            "route: [{destination: {host: dashboard}}]}]\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
             metadata: {name: other, namespace: services}\nspec: {hosts: [dashboard], http: [{timeout: 1s}]}",
        ),
    },
    Case {
        issue: "#35493: one host in two namespaces, each for itself",
        code: "IST0109",
        manifests: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: foo, namespace: dealer}
spec: {exportTo: [dealer], hosts: [foo.net], http: [{timeout: 15s, route: [{destination: {host: foo.net}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: foo, namespace: calculator}
spec: {exportTo: [calculator], hosts: [foo.net], http: [{timeout: 15s, route: [{destination: {host: foo.net}}]}]}
",
        twin: ("exportTo: [calculator]", "exportTo: ['*']"),
    },
    Case {
        issue: "#34653: a gateway that offers a host to its own namespace",
        code: "IST0132",
        manifests: "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: my-gateway, namespace: my-namespace}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [./my-service.example.com]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: my-service, namespace: my-namespace}
spec: {hosts: [my-service.example.com], gateways: [my-gateway], http: [{route: [{destination: {host: my-service}}]}]}
",
        twin: ("./my-service", "other/my-service"),
    },
    Case {
        issue: "#34829: a gateway with a wildcard",
        code: "IST0132",
        manifests: "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: private-ingress, namespace: ns}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*.example.com']}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: service, namespace: ns}
spec: {hosts: [service.example.com], gateways: [private-ingress], http: [{route: [{destination: {host: service}}]}]}
",
        twin: ("'*.example.com'", "'*.example.org'"),
    },
    Case {
        issue: "#58555: a short host that is an ExternalName service behind a wildcard of the gateway",
        code: "IST0132",
        manifests: "
apiVersion: v1
kind: Service
metadata: {name: cdmdb, namespace: my-app}
spec: {type: ExternalName, externalName: dev-database.cloud.example.com, ports: [{name: tls-db, port: 5432}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: istio-egressgateway, namespace: egress}
spec:
  selector: {istio: egress}
  servers: [{port: {number: 5432, name: tls, protocol: TLS}, tls: {mode: PASSTHROUGH}, hosts: ['*.cloud.example.com']}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cdmdb, namespace: my-app}
spec: {hosts: [cdmdb], gateways: [egress/istio-egressgateway], tcp: [{route: [{destination: {host: cdmdb}}]}]}
",
        twin: ("externalName: dev-database.cloud", "externalName: dev-database.land"),
    },
    Case {
        issue: "#60708: a VirtualService bound to a Kubernetes Gateway",
        code: "IST0101",
        manifests: "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: my-gateway, namespace: default}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: my-vs, namespace: default}
spec: {hosts: [example.com], gateways: [default/my-gateway], http: [{route: [{destination: {host: my-service}}]}]}
",
        twin: ("gateways: [default/my-gateway]", "gateways: [default/other]"),
    },
    Case {
        issue: "#54643, #53973, #52413: gateways of all hosts on different ports",
        code: "IST0145",
        manifests: "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: http, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: other, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*']}]}
",
        twin: ("number: 8080", "number: 80"),
    },
    Case {
        issue: "#57396: egress gateways of one port with different hosts",
        code: "IST0145",
        manifests: "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: a-egress, namespace: istio-system}
spec: {selector: {istio: egressgateway}, servers: [{port: {number: 443, name: tls, protocol: TLS}, hosts: [a.org], tls: {mode: ISTIO_MUTUAL}}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: b-egress, namespace: istio-system}
spec: {selector: {istio: egressgateway}, servers: [{port: {number: 443, name: tls, protocol: TLS}, hosts: [b.org], tls: {mode: ISTIO_MUTUAL}}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: c-egress, namespace: istio-system}
spec: {selector: {istio: egressgateway}, servers: [{port: {number: 443, name: tls, protocol: TLS}, hosts: [c.org], tls: {mode: ISTIO_MUTUAL}}]}
",
        twin: ("hosts: [c.org]", "hosts: [a.org]"),
    },
    Case {
        issue: "#51257, #51278, #28259: the port of the gateway's Service, and the target port behind it",
        code: "IST0162",
        manifests: "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: httpbin-gateway, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
  - {port: {number: 8443, name: https, protocol: HTTP}, hosts: ['*']}
---
apiVersion: v1
kind: Pod
metadata: {name: gateway, namespace: istio-system, labels: {istio: ingressgateway}}
spec: {containers: [{name: istio-proxy, image: proxy, ports: [{name: https, containerPort: 8443}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: gateway, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  ports: [{name: http2, port: 80, targetPort: 8080}, {name: https, port: 443, targetPort: https}]
",
        twin: ("number: 80,", "number: 81,"),
    },
    Case {
        issue: "#57590: a subset by the zone of the nodes",
        code: "IST0173",
        manifests: "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: my-service, namespace: default}
spec: {host: my-service, subsets: [{name: west, labels: {topology.kubernetes.io/region: us-west-1}}]}
---
apiVersion: v1
kind: Service
metadata: {name: my-service, namespace: default}
spec: {selector: {app: my-service}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Node
metadata: {name: node-1, labels: {topology.kubernetes.io/region: us-west-1}}
---
apiVersion: v1
kind: Pod
metadata: {name: my-service, namespace: default, labels: {app: my-service}}
spec: {nodeName: node-1, containers: [{name: app, image: app}]}
",
        twin: ("subsets: [{name: west, labels: {topology.kubernetes.io/region: us-west-1}", "subsets: [{name: west, labels: {topology.kubernetes.io/region: us-east-1}"),
    },
    Case {
        issue: "#51273: a Sidecar for a workload scaled to nothing",
        code: "IST0101",
        manifests: "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: batch, namespace: shop}
spec: {workloadSelector: {labels: {app: batch}}, egress: [{hosts: [./*]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: batch, namespace: shop}
spec: {replicas: 0, template: {metadata: {labels: {app: batch}}, spec: {containers: [{name: batch, image: batch}]}}}
",
        twin: ("template: {metadata: {labels: {app: batch}}", "template: {metadata: {labels: {app: other}}"),
    },
    Case {
        issue: "#51273: an AuthorizationPolicy for a CronJob between its runs",
        code: "IST0127",
        manifests: "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nightly, namespace: shop}
spec: {selector: {matchLabels: {app: nightly}}, action: DENY, rules: [{}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: shop}
spec:
  schedule: 0 0 * * *
  jobTemplate: {spec: {template: {metadata: {labels: {app: nightly}}, spec: {containers: [{name: a, image: a}]}}}}
",
        twin: ("matchLabels: {app: nightly}", "matchLabels: {app: daily}"),
    },
    Case {
        issue: "#43822: an AuthorizationPolicy for a pod in the ambient mesh",
        code: "IST0127",
        manifests: "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec: {selector: {matchLabels: {app: cart}}, action: DENY, rules: [{}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {app: cart}, annotations: {ambient.istio.io/redirection: enabled}}
spec: {containers: [{name: cart, image: cart}]}
",
        twin: ("matchLabels: {app: cart}", "matchLabels: {app: basket}"),
    },
    Case {
        issue: "#56083, #58557: istiod allocates addresses, whatever the proxies do with DNS",
        code: "IST0134",
        manifests: "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    defaultConfig: {proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'false', PILOT_ENABLE_IP_AUTOALLOCATE: 'true'}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: cdmdb, namespace: my-app}
spec: {hosts: [database.example.com], ports: [{name: postgres, number: 5432, protocol: TCP}], resolution: DNS}
",
        twin: ("PILOT_ENABLE_IP_AUTOALLOCATE: 'true'", "PILOT_ENABLE_IP_AUTOALLOCATE: 'false'"),
    },
    Case {
        issue: "#56322, #56931: addresses that istiod has written into the status",
        code: "IST0134",
        manifests: "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: cdmdb, namespace: my-app}
spec: {hosts: [database.example.com], ports: [{name: postgres, number: 5432, protocol: TCP}], resolution: DNS}
status: {addresses: [{host: database.example.com, value: 240.240.0.1}]}
",
        twin: ("status: {addresses: [{host: database.example.com, value: 240.240.0.1}]}", "status: {}"),
    },
    Case {
        issue: "#17771, #40220: pods that say themselves that they are not injected",
        code: "IST0103",
        manifests: "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: shop, annotations: {sidecar.istio.io/inject: 'false'}}
spec: {containers: [{name: app, image: app}]}
---
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: shop, labels: {sidecar.istio.io/inject: 'false'}}
spec: {containers: [{name: app, image: app}]}
",
        twin: ("labels: {sidecar.istio.io/inject: 'false'}", "labels: {sidecar.istio.io/inject: 'true'}"),
    },
    Case {
        issue: "#27390, #55022, #56297, #30874: namespaces of Kubernetes and of Istio itself",
        code: "IST0102",
        manifests: "
apiVersion: v1
kind: Namespace
metadata: {name: kube-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: local-path-storage}
---
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
",
        twin: ("name: local-path-storage", "name: shop"),
    },
    Case {
        issue: "#45500: annotations that Istio sets itself",
        code: "IST0108",
        manifests: "
apiVersion: v1
kind: Pod
metadata: {name: gateway, namespace: istio-ingress, annotations: {istio.io/rev: default, ambient.istio.io/redirection: enabled}}
spec: {containers: [{name: istio-proxy, image: proxy}]}
",
        twin: ("istio.io/rev", "istio.io/revision"),
    },
    Case {
        issue: "#40861: a Gateway alone in a file, its workload elsewhere",
        code: "IST0101",
        manifests: "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public-gateway, namespace: istio-system}
spec: {selector: {istio: gateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: nothing-to-do-with-it, namespace: shop}
",
        twin: (
            "kind: ConfigMap\nmetadata: {name: nothing-to-do-with-it, namespace: shop}",
            "kind: Pod\nmetadata: {name: a, namespace: b, labels: {istio: other}}\nspec: {containers: [{name: istio-proxy}]}",
        ),
    },
    Case {
        issue: "#34830: services of another namespace that select the same labels",
        code: "IST0137",
        manifests: "
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: ns1}
spec:
  template:
    metadata: {labels: {app: api, sidecar.istio.io/inject: 'true'}}
    spec: {containers: [{name: api, image: api}]}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: ns1}
spec: {selector: {app: api}, ports: [{name: http, port: 8082, targetPort: api}]}
---
apiVersion: v1
kind: Service
metadata: {name: api-b, namespace: ns2}
spec: {selector: {app: api}, ports: [{name: http, port: 8085, targetPort: api}]}
",
        twin: ("namespace: ns2", "namespace: ns1"),
    },
    Case {
        issue: "#58559: rules of the egress gateway itself",
        code: "IST0140",
        manifests: "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: tenant, namespace: tenant}
spec: {hosts: [external.example.com], gateways: [egress/egress], http: [{route: [{destination: {host: external.example.com}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: egress, namespace: egress}
spec: {hosts: [external.example.com], gateways: [egress], http: [{route: [{destination: {host: external.example.com, subset: tls}}]}]}
",
        twin: ("gateways: [egress],", "gateways: [mesh],"),
    },
    Case {
        issue: "#19688: a Service whose ports name their protocol",
        code: "IST0118",
        manifests: "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{name: web, port: 80, appProtocol: http}, {name: dns, port: 53, protocol: UDP}, {name: db, port: 3306}]}
",
        twin: ("appProtocol: http", "appProtocol: mine"),
    },
];
