//! `VirtualServices` that routes delegate to. Source: istio `pilot/pkg/model/virtualservice.go`
//! (`mergeVirtualServicesIfNeeded`, `mergeHTTPRoutes`, `hasConflict`). istioctl checks none of it; istiod writes a log
//! line and drops the route.

use crate::rules::support::common_codes::IST0101;
use crate::rules::support::completeness;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

/// The rule.
pub static RULE: Rule = Rule {
    name: "virtual_service.Delegates",
    codes: &[&IST0101, &SH7132, &SH7133],
    inputs: &[Kind::VirtualService, Kind::Namespace, Kind::MeshConfig],
    check: Check::Each(&[Kind::VirtualService], check),
};

static SH7132: Code = Code {
    id: "SH7132",
    name: "DelegateNotUsable",
    level: Level::Error,
    title: "A route delegates to a VirtualService that cannot be a delegate",
    why: "Istio merges only VirtualServices without hosts that are exported to the namespace of the root. It drops the route \
          otherwise, and requests that match it are answered with 404.",
    remedy: "Remove the hosts from the delegate, or export it to the namespace of the root.",
    source: "https://istio.io/latest/docs/reference/config/networking/virtual-service/#Delegate",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: shop}
spec:
  hosts: [shop.example.com]
  gateways: [web]
  http: [{match: [{uri: {prefix: /cart}}], delegate: {name: cart}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart.example.com]
  gateways: [web]
  http: [{route: [{destination: {host: cart}}]}]
",
        after: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: shop}
spec:
  hosts: [shop.example.com]
  gateways: [web]
  http: [{match: [{uri: {prefix: /cart}}], delegate: {name: cart}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  http: [{route: [{destination: {host: cart}}]}]
",
    },
    also: &[],
};

static SH7133: Code = Code {
    id: "SH7133",
    name: "DelegateConflictsWithRoot",
    level: Level::Warning,
    title: "A route of a delegate conflicts with the match of the route that delegates to it",
    why: "A request has to match both. Istio drops a route of the delegate whose match is not within the root's.",
    remedy: "Narrow the match of the delegate to what the root matches, such as a longer prefix, or leave it out.",
    source: "https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRoute",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: shop}
spec:
  hosts: [shop.example.com]
  http: [{match: [{uri: {prefix: /cart}}], delegate: {name: cart}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  http: [{match: [{uri: {prefix: /items}}], route: [{destination: {host: cart}}]}]
",
        after: "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: shop}
spec:
  hosts: [shop.example.com]
  http: [{match: [{uri: {prefix: /cart}}], delegate: {name: cart}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  http: [{match: [{uri: {prefix: /cart/items}}], route: [{destination: {host: cart}}]}]
",
    },
    also: &[],
};

fn check(view: &View<'_>, root: &Resource, findings: &mut Findings) {
    if root.spec()["hosts"].is_empty() {
        return;
    }
    for (index, route) in root.spec()["http"].items().iter().enumerate() {
        let delegate = &route["delegate"];
        let name = delegate["name"].text();
        if name.is_empty() {
            continue;
        }
        let stated = delegate["namespace"].text();
        let namespace = if stated.is_empty() { root.namespace.as_str() } else { stated };
        let field = format!("spec.http[{index}].delegate.name");
        match view.get(Kind::VirtualService, namespace, name) {
            None => {
                if knows_delegates(view, namespace) {
                    let message = format!("delegate VirtualService {namespace}/{name} does not exist");
                    findings.add(&IST0101, root, message).field(field).arguments(["delegate", name]);
                }
            }
            Some(found) => check_found(view, root, (index, route), found, findings),
        }
    }
}

fn check_found(
    view: &View<'_>,
    root: &Resource,
    (index, route): (usize, &Value),
    delegate: &Resource,
    findings: &mut Findings,
) {
    let name = delegate.full_name();
    let problem = if !delegate.spec()["hosts"].is_empty() {
        Some(format!("VirtualService {name} has hosts, so it is not a delegate"))
    } else if !is_exported_to(view, delegate, &root.namespace) {
        Some(format!("VirtualService {name} is not exported to namespace {}", root.namespace))
    } else {
        None
    };
    if let Some(message) = problem {
        let field = format!("spec.http[{index}].delegate.name");
        findings.add(&SH7132, root, message).field(field).arguments([&name]).related(delegate);
        return;
    }
    let matches = route["match"].items();
    for (at, leaf) in delegate.spec()["http"].items().iter().enumerate() {
        let leaves = leaf["match"].items();
        if matches.is_empty() || leaves.is_empty() {
            continue;
        }
        // One pair without a conflict is enough for a route.
        let conflict = |leaf: &Value| matches.iter().map(|of_root| conflict(of_root, leaf)).min_by_key(Option::is_some);
        let conflicts: Vec<_> = leaves.iter().map(|leaf| conflict(leaf).flatten()).collect();
        if let Some(fields) = conflicts.into_iter().collect::<Option<Vec<_>>>() {
            let what = fields.first().copied().unwrap_or_default();
            let message =
                format!("no match of this route is within http[{index}] of {}: {what} differs", root.full_name());
            findings
                .add(&SH7133, delegate, message)
                .field(format!("spec.http[{at}].match"))
                .arguments([root.full_name()])
                .related(root);
        }
    }
}

/// Whether a VirtualService that is not among the objects does not exist.
fn knows_delegates(view: &View<'_>, namespace: &str) -> bool {
    !view.may_make_anything() && view.has_in(Kind::VirtualService, namespace) || completeness::knows_namespaces(view)
}

fn is_exported_to(view: &View<'_>, delegate: &Resource, namespace: &str) -> bool {
    let own = &delegate.spec()["exportTo"];
    let listed = if own.is_empty() { &view.mesh().config()["defaultVirtualServiceExportTo"] } else { own };
    let is_named = |scope: &str| match scope {
        "*" => true,
        "." => delegate.namespace == namespace,
        scope => scope == namespace,
    };
    listed.is_empty() || listed.texts().any(is_named)
}

/// The field in which a match of a delegate is not within a match of its root.
fn conflict(root: &Value, leaf: &Value) -> Option<&'static str> {
    let differs = |key: &&str| texts_conflict(&root[*key], &leaf[*key]);
    if let Some(key) = ["uri", "scheme", "method", "authority"].into_iter().find(differs) {
        return Some(key);
    }
    let maps = ["headers", "withoutHeaders", "queryParams"];
    let map_differs =
        |key: &&str| leaf[*key].entries().iter().any(|(name, value)| texts_conflict(&root[*key][name.as_str()], value));
    if let Some(key) = maps.into_iter().find(map_differs) {
        return Some(key);
    }
    let (of_root, of_leaf) = (root["port"].as_int(), leaf["port"].as_int());
    if of_root.is_some() && of_leaf.is_some() && of_root != of_leaf {
        return Some("port");
    }
    let namespace = root["sourceNamespace"].text();
    let of_leaf = leaf["sourceNamespace"].text();
    (!namespace.is_empty() && !of_leaf.is_empty() && namespace != of_leaf).then_some("sourceNamespace")
}

/// Whether a text that matches `leaf` cannot be known to match `root`. Without one of them there is no conflict; a regular
/// expression is one always, as in Istio.
fn texts_conflict(root: &Value, leaf: &Value) -> bool {
    if root.is_empty() || leaf.is_empty() {
        return false;
    }
    let (exact, prefix) = (root["exact"].as_str(), root["prefix"].as_str());
    let (of_leaf, leaf_prefix) = (leaf["exact"].as_str(), leaf["prefix"].as_str());
    match (exact, prefix) {
        (Some(exact), _) => of_leaf != Some(exact),
        (None, Some(prefix)) => !of_leaf.or(leaf_prefix).is_some_and(|text| text.starts_with(prefix)),
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::{messages, reported};

    fn pair(namespace: &str, delegate: &str, spec: &str) -> String {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: root, namespace: one}}\n\
             spec:\n  hosts: [a.example.com]\n  http: [{{match: [{{uri: {{prefix: /a}}}}], delegate: {{name: leaf, namespace: {namespace}}}}}]\n---\n\
             apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {delegate}, namespace: two}}\n\
             spec:\n  {spec}\n"
        )
    }

    const ROUTE: &str = "http: [{route: [{destination: {host: a}}]}]";

    #[test]
    fn delegate_has_to_exist_and_to_be_exported() {
        assert!(!reported(&pair("two", "leaf", ROUTE)).contains("SH7132"));
        assert_eq!(
            messages(&pair("two", "other", ROUTE), "IST0101"),
            ["delegate VirtualService two/leaf does not exist"]
        );
        // Nothing of that namespace is among the files.
        assert!(!reported(&pair("three", "leaf", ROUTE)).contains("IST0101"));
        let hidden = format!("exportTo: ['.']\n  {ROUTE}");
        assert!(reported(&pair("two", "leaf", &hidden)).contains("SH7132"));
        let shown = format!("exportTo: [one]\n  {ROUTE}");
        assert!(!reported(&pair("two", "leaf", &shown)).contains("SH7132"));
    }

    #[test]
    fn matches_of_a_delegate_are_within_those_of_the_root() {
        for (of_leaf, wanted) in [
            ("{uri: {prefix: /a/b}}", false),
            ("{uri: {exact: /a}}", false),
            ("{method: {exact: GET}}", false),
            ("{uri: {prefix: /}}", true),
            ("{uri: {regex: '/a.*'}}", true),
            ("{uri: {prefix: /}}, {uri: {prefix: /a}}", false),
        ] {
            let spec = format!("http: [{{match: [{of_leaf}], route: [{{destination: {{host: a}}}}]}}]");
            assert_eq!(reported(&pair("two", "leaf", &spec)).contains("SH7133"), wanted, "{of_leaf}");
        }
    }
}
