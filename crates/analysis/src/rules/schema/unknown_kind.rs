//! Kinds that Istio and the Gateway API do not have. Source: the API groups of istio/api and
//! kubernetes-sigs/gateway-api; `kubectl` says `no matches for kind`.

use sailhand_base::suggest;

use crate::{Check, Code, Example, Findings, Fix, Kind, Level, Resource, Rule, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "schema.UnknownKind",
    codes: &[&SH7023],
    inputs: &[Kind::Unknown],
    check: Check::Each(&[Kind::Unknown], check),
};

static SH7023: Code = Code {
    id: "SH7023",
    name: "UnknownKind",
    level: Level::Error,
    title: "An API group of Istio or of the Gateway API does not have this kind",
    why: "The API server refuses the object (no matches for kind), so the configuration is not applied, and no other rule \
          checked it.",
    remedy: "Correct kind and apiVersion; the message names the nearest kind. Kinds are case-sensitive.",
    source: "https://istio.io/latest/docs/reference/config/",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: VirtualServce
metadata: {name: cart, namespace: shop}
spec: {hosts: [cart], http: [{route: [{destination: {host: cart}}]}]}
",
        after: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec: {hosts: [cart], http: [{route: [{destination: {host: cart}}]}]}
",
    },
    also: &[],
};

/// Groups all of whose kinds rules read.
const GROUPS: [&str; 5] = [
    "networking.istio.io",
    "security.istio.io",
    "telemetry.istio.io",
    "extensions.istio.io",
    "gateway.networking.k8s.io",
];
/// Kinds of these groups that no rule reads. A `ConformanceReport` is a file of the Gateway API's tests.
const OTHERS: [&str; 2] = ["BackendLBPolicy", "ConformanceReport"];
/// Groups of Istio that other tools read, and those of releases before 1.6.
const OTHER_GROUPS: [&str; 5] =
    ["install.istio.io", "operator.istio.io", "config.istio.io", "rbac.istio.io", "authentication.istio.io"];

/// Whether an object is of a group that should have its kind and does not.
pub fn is_unknown(group: &str, kind: &str) -> bool {
    let is_misspelt_group = group.ends_with("istio.io") && !OTHER_GROUPS.contains(&group);
    (GROUPS.contains(&group) || is_misspelt_group)
        && !OTHERS.contains(&kind)
        && Kind::find(group, kind).is_none()
        && !kind.ends_with("List")
}

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let group = resource.api_version.split('/').next().unwrap_or_default();
    let kind = resource.root["kind"].text();
    let kinds = || Kind::ALL.iter().filter(|known| GROUPS.contains(&known.group()));
    let hint = if GROUPS.contains(&group) {
        let of_group = kinds().filter(|known| known.group() == group).map(|known| known.name());
        let near = suggest::nearest(kind, of_group).map(|near| format!("; did you mean {near}?"));
        let of_other =
            || kinds().find(|known| known.name() == kind).map(|known| format!("; it is one of {}", known.group()));
        near.or_else(of_other).unwrap_or_default()
    } else {
        suggest::nearest(group, GROUPS).map_or_else(String::new, |near| format!("; did you mean {near}?"))
    };
    let message = format!("{group} has no kind {kind}{hint}");
    let finding = findings.add(&SH7023, resource, message).field("kind").arguments([group, kind]);
    let of_group = kinds().filter(|known| known.group() == group).map(|known| known.name());
    finding.fix(suggest::certain(kind, of_group).map(|to| Fix::Replace { from: kind.to_owned(), to: to.to_owned() }));
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::{found, messages};

    /// Before: `UnknownKind shop/a`, and the group `analysis.sailhand.internal`.
    #[test]
    fn object_is_named_as_it_is_written() {
        let text = "apiVersion: networking.istio.io/v1\nkind: VirtualServce\nmetadata: {name: a, namespace: shop}\n";
        let found = found(text);
        let object = &found.iter().find(|it| it.code.id == "SH7023").unwrap().object;
        assert_eq!(object.to_string(), "VirtualServce shop/a");
        assert_eq!((object.group(), object.kind_name()), ("networking.istio.io", "VirtualServce"));
    }

    #[test]
    fn nearest_kind_or_group_is_named() {
        for (group, kind, wanted) in [
            (
                "networking.istio.io",
                "Virtualservice",
                Some("networking.istio.io has no kind Virtualservice; did you mean VirtualService?"),
            ),
            (
                "gateway.networking.k8s.io",
                "HttpRoute",
                Some("gateway.networking.k8s.io has no kind HttpRoute; did you mean HTTPRoute?"),
            ),
            (
                "networking.istio.io",
                "PeerAuthentication",
                Some("networking.istio.io has no kind PeerAuthentication; it is one of security.istio.io"),
            ),
            (
                "network.istio.io",
                "VirtualService",
                Some("network.istio.io has no kind VirtualService; did you mean networking.istio.io?"),
            ),
            ("install.istio.io", "IstioOperator", None),
            ("gateway.networking.k8s.io", "ListenerSet", None),
            ("example.com", "VirtualService", None),
        ] {
            let text = format!(
                "apiVersion: {group}/v1\nkind: {kind}\nmetadata: {{name: a, namespace: shop}}\nspec: {{x: 1}}\n"
            );
            assert_eq!(messages(&text, "SH7023"), wanted.into_iter().collect::<Vec<_>>(), "{group} {kind}");
        }
    }
}
