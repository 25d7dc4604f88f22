//! `ListenerSet`s, which add listeners to a Gateway. Source: Gateway API, `ListenerSet` and `AllowedListeners`; istio
//! `pilot/pkg/config/kube/gateway` (a set that its Gateway does not allow is not accepted).

use super::parents::{SH7141, allows_namespace, is_missing, referenced};
use super::status::is_refused;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "gateway_api.ListenerSets",
    codes: &[&SH7141, &SH7163],
    inputs: &[Kind::ListenerSet, Kind::KubernetesGateway, Kind::Namespace, Kind::MeshConfig, Kind::Deployment],
    check: Check::Each(&[Kind::ListenerSet], check),
};

static SH7163: Code = Code {
    id: "SH7163",
    name: "ListenerSetNotAllowed",
    level: Level::Error,
    title: "Gateway does not allow the ListenerSet",
    why: "The listeners are not added to the Gateway, so requests to their ports and hosts get no response. By default a \
          Gateway allows no ListenerSet.",
    remedy: "Set allowedListeners.namespaces.from of the Gateway to Same, All or Selector.",
    source: "https://gateway-api.sigs.k8s.io/reference/spec/#allowedlisteners",
    example: Example {
        before: "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec:
  gatewayClassName: istio
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more, namespace: shop}
spec:
  parentRef: {name: web}
  listeners: [{name: api, port: 8080, protocol: HTTP}]
",
        after: "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec:
  gatewayClassName: istio
  allowedListeners: {namespaces: {from: Same}}
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more, namespace: shop}
spec:
  parentRef: {name: web}
  listeners: [{name: api, port: 8080, protocol: HTTP}]
",
    },
    also: &[],
};

fn check(view: &View<'_>, set: &Resource, findings: &mut Findings) {
    let Some((Kind::KubernetesGateway, namespace, name)) = referenced(&set.spec()["parentRef"], set) else { return };
    if is_refused(set, "Accepted") {
        return;
    }
    let Some(gateway) = view.get(Kind::KubernetesGateway, namespace, name) else {
        if is_missing(view, Kind::KubernetesGateway, namespace, name) {
            let message = format!("Gateway {namespace}/{name} does not exist");
            findings.add(&SH7141, set, message).field("spec.parentRef.name").arguments([format!("{namespace}/{name}")]);
        }
        return;
    };
    if !allows_namespace(view, &gateway.spec()["allowedListeners"], "None", set, gateway) {
        let message = format!("Gateway {} allows no ListenerSet of namespace {}", gateway.full_name(), set.namespace);
        findings.add(&SH7163, set, message).field("spec.parentRef").arguments([gateway.full_name()]).related(gateway);
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn allowed_listeners_decide_by_namespace() {
        let text = |allowed: &str| {
            super::SH7163
                .example
                .after
                .replace("name: more, namespace: shop", "name: more, namespace: team")
                .replace("{name: web}\n", "{name: web, namespace: shop}\n")
                .replace("from: Same", allowed)
                + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: team, labels: {kind: apps}}\n"
        };
        for (allowed, wanted) in [
            ("from: All", false),
            ("from: Same", true),
            ("from: None", true),
            ("from: Selector, selector: {matchLabels: {kind: apps}}", false),
            ("from: Selector, selector: {matchLabels: {kind: other}}", true),
        ] {
            assert_eq!(reported(&text(allowed)).contains("SH7163"), wanted, "{allowed}");
        }
    }
}
