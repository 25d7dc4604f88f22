//! Checks Istio annotations: unknown names, unsupported kinds of resource, deprecated ones, invalid values. Source:
//! istio `analyzers/annotations/annotations.go`, `pkg/kube/inject/validate.go`.
//!
//! Differs from istioctl: for `proxy.istio.io/config` only the syntax and the field names are checked, not each value.
//! If there are no pods, as in files, the pod templates are checked.

use super::table::{self, Change, SET_BY_ISTIO};
use super::value;
use crate::istio::membership::INJECT;
use crate::{Check, Code, Example, Findings, Fix, Kind, Level, Resource, Rule, Value, View, WORKLOADS};
use sailhand_base::suggest;

pub static RULE: Rule = Rule {
    name: "annotations.K8sAnalyzer",
    codes: &[&IST0107, &IST0108, &IST0125, &IST0135],
    inputs: KINDS,
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
    title: "Annotation has no effect on this kind of resource",
    why: "Istio does not read this annotation here, so the setting is not applied.",
    remedy: "Move it to an object of the kind in the message. For the pods of a Deployment, that is the pod template.",
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
    title: "Unknown Istio annotation",
    why: "Istio ignores the annotation, so the setting is not applied.",
    remedy: "Correct its name; the reference lists all annotations.",
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
    title: "Annotation has an invalid value",
    why: "The injector rejects the pod, or the setting is ignored.",
    remedy: "Correct the value; the message gives the expected format.",
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
    title: "Annotation is deprecated",
    why: "A future release of Istio will not read it.",
    remedy: "Use its replacement: the label of the same name for sidecar.istio.io/inject, fields of \
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

fn check(view: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let kind = resource.kind;
    if matches!(kind, Kind::Namespace | Kind::Service | Kind::Pod | Kind::Deployment) {
        let is_labelled = resource.label(INJECT).is_some();
        let stand = Stand { annotations: resource.annotations(), within: "", kind: kind.name(), is_labelled };
        check_annotations(resource, &stand, findings);
    }
    // Annotations that pods inherit are reported for the pods.
    if WORKLOADS.contains(&kind) && kind != Kind::Pod && !view.has_in(Kind::Pod, &resource.namespace) {
        let metadata = &resource.pod_template()["metadata"];
        let within = if kind == Kind::CronJob { "spec.jobTemplate.spec.template." } else { "spec.template." };
        let is_labelled = metadata["labels"][INJECT].is_set();
        let stand = Stand { annotations: &metadata["annotations"], within, kind: Kind::Pod.name(), is_labelled };
        check_annotations(resource, &stand, findings);
    }
}

/// Where an object has annotations.
struct Stand<'a> {
    annotations: &'a Value,
    /// Path of the field up to and including `metadata`.
    within: &'static str,
    /// Kind to which the annotations apply.
    kind: &'static str,
    /// Whether the label that replaces the annotation is set too.
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
                .arguments([name])
                .fix(suggest::certain(name, table::names()).map(|near| Fix::RenameKey(near.to_owned())));
            continue;
        };
        // With the replacement label set as well, the annotation is there for old versions.
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
                .add(&IST0107, resource, format!("annotation {name} is valid only on {kinds}"))
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
    fn internal_and_foreign_annotations_are_ignored() {
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
    fn templates_are_checked_without_pods() {
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
