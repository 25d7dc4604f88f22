//! Annotations of Istio that do not exist, stand in the wrong place, are on their way out, or have a value that cannot
//! be. Source: istio `analyzers/annotations/annotations.go`, `pkg/kube/inject/validate.go`.
//!
//! Differs from istioctl: `proxy.istio.io/config` is checked for what can be read and for its fields, not for each value.
//! Where no pods are known, as in files, the templates that make them are looked at.

use super::table::{self, Change, SET_BY_ISTIO};
use super::value;
use crate::{Check, Code, Example, Findings, Kind, Level, Node, Resource, Rule, View, WORKLOADS};
use sailhand_base::suggest;

/// The rule.
pub static RULE: Rule = Rule {
    name: "annotations.K8sAnalyzer",
    codes: &[&IST0107, &IST0108, &IST0125, &IST0135],
    reads: KINDS,
    check: Check::Each(KINDS, check),
};

const KINDS: &[Kind] = &[
    Kind::Namespace,
    Kind::Service,
    Kind::Pod,
    Kind::Deployment,
    Kind::StatefulSet,
    Kind::DaemonSet,
    Kind::Job,
    Kind::CronJob,
];

const SOURCE: &str = "https://istio.io/latest/docs/reference/config/annotations/";

static IST0107: Code = Code {
    id: "IST0107",
    name: "MisplacedAnnotation",
    level: Level::Warning,
    title: "An annotation stands on an object that it says nothing to",
    why: "Nobody reads it there: what it should change stays as it is.",
    remedy: "Move it to an object of the kind the message names; for pods of a Deployment that is its template.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop, annotations: {sidecar.istio.io/logLevel: debug}}
spec: {template: {spec: {containers: [{name: cart, image: cart}]}}}
",
        after: "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata: {annotations: {sidecar.istio.io/logLevel: debug}}
    spec: {containers: [{name: cart, image: cart}]}
",
    },
    also: &[],
};

static IST0108: Code = Code {
    id: "IST0108",
    name: "UnknownAnnotation",
    level: Level::Warning,
    title: "There is no such annotation of Istio",
    why: "Nobody reads it: what it should change stays as it is.",
    remedy: "Correct its name; see the list of annotations.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop, annotations: {networking.istio.io/exportsTo: '.'}}
spec: {ports: [{name: http, port: 80}]}
",
        after: "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop, annotations: {networking.istio.io/exportTo: '.'}}
spec: {ports: [{name: http, port: 80}]}
",
    },
    also: &[],
};

static IST0125: Code = Code {
    id: "IST0125",
    name: "InvalidAnnotation",
    level: Level::Warning,
    title: "An annotation has a value that it cannot have",
    why: "The injector refuses the pod, or the setting is ignored.",
    remedy: "Correct the value as the message says.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, annotations: {sidecar.istio.io/proxyCPU: much}}
spec: {containers: [{name: cart, image: cart}]}
",
        after: "\
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, annotations: {sidecar.istio.io/proxyCPU: 100m}}
spec: {containers: [{name: cart, image: cart}]}
",
    },
    also: &[],
};

static IST0135: Code = Code {
    id: "IST0135",
    name: "DeprecatedAnnotation",
    level: Level::Info,
    title: "An annotation is on its way out",
    why: "One of the next releases of Istio does not read it any more.",
    remedy: "Use what has replaced it: the label of the same name for sidecar.istio.io/inject, fields of \
             proxy.istio.io/config for most others.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, annotations: {sidecar.istio.io/inject: 'true'}}
spec: {containers: [{name: cart, image: cart}]}
",
        after: "\
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {sidecar.istio.io/inject: 'true'}}
spec: {containers: [{name: cart, image: cart}]}
",
    },
    also: &[],
};

const INJECT: &str = "sidecar.istio.io/inject";

fn check(view: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let kind = resource.kind;
    if matches!(kind, Kind::Namespace | Kind::Service | Kind::Pod | Kind::Deployment) {
        let is_labelled = resource.label(INJECT).is_some();
        let stand = Stand { annotations: resource.annotations(), within: "", kind: kind.name(), is_labelled };
        check_annotations(resource, &stand, findings);
    }
    // Of what pods have is told at the pods.
    if WORKLOADS.contains(&kind) && kind != Kind::Pod && !view.has_in(Kind::Pod, &resource.namespace) {
        let metadata = &resource.pod_template()["metadata"];
        let within = if kind == Kind::CronJob { "spec.jobTemplate.spec.template." } else { "spec.template." };
        let is_labelled = metadata["labels"][INJECT].is_set();
        let stand = Stand { annotations: &metadata["annotations"], within, kind: Kind::Pod.name(), is_labelled };
        check_annotations(resource, &stand, findings);
    }
}

/// Where annotations stand.
struct Stand<'a> {
    annotations: &'a Node,
    /// Their field, up to `metadata`.
    within: &'static str,
    /// What they are said of.
    kind: &'static str,
    /// Whether the label that has replaced one of them is there too.
    is_labelled: bool,
}

fn check_annotations(resource: &Resource, stand: &Stand<'_>, findings: &mut Findings) {
    for (name, content) in stand.annotations.entries() {
        let name = name.as_str();
        if !table::is_istio(name) || SET_BY_ISTIO.contains(&name) {
            continue;
        }
        let field = format!("{}metadata.annotations[\"{name}\"]", stand.within);
        let Some(known) = table::find(name) else {
            let near = suggest::nearest(name, table::names());
            let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            findings
                .add(&IST0108, resource, format!("annotation {name} is unknown to Istio{hint}"))
                .field(field)
                .arguments([name]);
            continue;
        };
        // Whoever has set the label too knows it already.
        if known.change == Change::Deprecated && (name != INJECT || !stand.is_labelled) {
            let extra = if name == INJECT { " in favor of the label of the same name" } else { "" };
            findings
                .add(&IST0135, resource, format!("annotation {name} is deprecated{extra}"))
                .field(field.clone())
                .arguments([name, extra]);
        }
        if known.kinds.contains(&"Any") {
            continue;
        }
        if !known.kinds.contains(&stand.kind) {
            let kinds = known.kinds.join(", ");
            findings
                .add(&IST0107, resource, format!("annotation {name} belongs on {kinds}"))
                .field(field)
                .arguments([name, &kinds]);
            continue;
        }
        if let Err(problem) = value::check(name, &content.scalar_text()) {
            findings
                .add(&IST0125, resource, format!("annotation {name}: {problem}"))
                .field(field)
                .arguments([name, &problem]);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn what_istio_sets_itself_and_what_is_not_istios_is_not_told() {
        let pod = |annotations: &str| {
            let text = format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: a, namespace: b, annotations: {{{annotations}}}}}\n"
            );
            let codes = reported(&text);
            ["IST0107", "IST0108", "IST0125", "IST0135"]
                .into_iter()
                .filter(|code| codes.contains(code))
                .collect::<Vec<_>>()
        };
        assert_eq!(pod("istio.io/rev: a, ambient.istio.io/redirection: enabled, example.com/x: y"), [""; 0]);
        assert_eq!(pod("kubernetes.io/ingress.class: istio"), ["IST0107"]);
        assert_eq!(pod("status.sidecar.istio.io/port: '70000'"), ["IST0125"]);
        assert_eq!(pod("proxy.istio.io/config: '{holdApplicationUntilProxyStarts: true}'"), [""; 0]);
    }

    #[test]
    fn templates_are_looked_at_where_there_are_no_pods() {
        let template = "{metadata: {annotations: {sidecar.istio.io/proxyCpu: 100m}}}";
        let of = |kind: &str, spec: String| {
            format!("apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: a, namespace: b}}\nspec: {spec}\n")
        };
        let set = of("StatefulSet", format!("{{template: {template}}}"));
        assert!(reported(&set).contains("IST0108"));
        assert!(!reported(&set.replace("proxyCpu", "proxyCPU")).contains("IST0108"));
        let job = of("CronJob", format!("{{jobTemplate: {{spec: {{template: {template}}}}}}}"));
        assert!(reported(&job.replace("apps/v1", "batch/v1")).contains("IST0108"));
        let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: c, namespace: b}\n";
        assert!(!reported(&format!("{set}{pod}")).contains("IST0108"));
    }
}
