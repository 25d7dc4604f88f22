//! Keys that a mapping of a manifest has twice. Source: YAML 1.2.2, 3.2.1.1 ("unique"); kustomize and Flux refuse such
//! manifests, while `kubectl` and istioctl take the last value without a warning.

use crate::{Check, Code, Example, Findings, Fix, Kind, Level, Resource, Rule, View};

/// All kinds that manifests have. The last four of the list stand for something else.
const KINDS: &[Kind] = Kind::ALL.split_at(Kind::COUNT - 4).0;

/// The rule.
pub static RULE: Rule =
    Rule { name: "schema.RepeatedKeys", codes: &[&SH7022], inputs: KINDS, check: Check::Text(KINDS, check) };

static SH7022: Code = Code {
    id: "SH7022",
    name: "RepeatedKey",
    level: Level::Error,
    title: "A mapping has the same key more than once",
    why: "kubectl applies the last value and drops the others without a warning; kustomize, Flux and the API server's \
          strict validation refuse the manifest. Where a document separator is missing, one of two objects is lost.",
    remedy: "Remove one of the two, or put --- on a line of its own between two documents.",
    source: "https://yaml.org/spec/1.2.2/#3211-nodes",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec:
  host: cart
  host: carts
",
        after: "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart, namespace: shop}
spec:
  host: cart
",
    },
    also: &[],
};

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    for repeated in &resource.repeated {
        let field = &repeated.field;
        let key = field.rsplit('.').next().unwrap_or(field);
        let message = if repeated.is_glued {
            format!(
                "duplicate key {key}: the line before ends in ---, which separates documents only on a line of \
                 its own, so two objects became one"
            )
        } else if repeated.differs {
            format!("duplicate key {key} with different values; the last one is used")
        } else {
            format!("duplicate key {key} with the same value")
        };
        // The same value twice changes nothing until one of them is edited.
        let level = if repeated.differs || repeated.is_glued { Level::Error } else { Level::Warning };
        let fix = (level == Level::Warning).then_some(Fix::RemoveKey);
        findings.add(&SH7022, resource, message).field(field.clone()).level(level).arguments([key]).fix(fix);
    }
}

#[cfg(test)]
mod tests {
    use crate::Level;
    use crate::rules::tests::found;

    fn repeated(text: &str) -> Vec<(Level, String)> {
        let found = found(text).into_iter().filter(|finding| finding.code.id == "SH7022");
        found.map(|finding| (finding.level, finding.field)).collect()
    }

    #[test]
    fn rule_about_text_needs_nothing_of_a_cluster() {
        assert!(super::RULE.is_about_text());
        let others = crate::rules::ALL.iter().filter(|rule| rule.is_about_text());
        assert_eq!(others.map(|rule| rule.name).collect::<Vec<_>>(), ["schema.OldVersion", super::RULE.name]);
    }

    #[test]
    fn repeated_key_is_an_error_where_its_values_differ() {
        let pod = |labels: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a, labels: {{{labels}}}}}\n");
        assert_eq!(repeated(&pod("a: b, a: c")), [(Level::Error, "metadata.labels.a".to_owned())]);
        assert_eq!(repeated(&pod("a: b, a: b")), [(Level::Warning, "metadata.labels.a".to_owned())]);
        assert_eq!(repeated(&pod("a: b, c: b")), []);
    }

    #[test]
    fn repeated_key_of_json_or_of_an_item_of_a_list_is_found() {
        let pod = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "name": "b"}}"#;
        assert_eq!(repeated(pod), [(Level::Error, "metadata.name".to_owned())]);
        let list = format!("{{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{{}}, {pod}]}}");
        assert_eq!(repeated(&list), [(Level::Error, "metadata.name".to_owned())]);
    }
}
