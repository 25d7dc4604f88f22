//! Checks for patches whose operation has no effect or depends on the order of patches. Source: istio
//! `analyzers/envoyfilter/envoyfilter.go`.
//!
//! Differs from istioctl: only patches of the same `EnvoyFilter` count as earlier ones (IST0155), because the order
//! between objects is not stable. `EXTENSION_CONFIG` and `CLUSTER` patches with REPLACE are reported as in istioctl.

use std::collections::BTreeSet;

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View};

pub static RULE: Rule = Rule {
    name: "envoyfilter.EnvoyPatchAnalyzer",
    codes: &[&IST0151, &IST0152, &IST0153, &IST0154, &IST0155],
    inputs: &[Kind::EnvoyFilter],
    check: Check::Each(&[Kind::EnvoyFilter], check),
};

const SOURCE: &str =
    "https://istio.io/latest/docs/reference/config/networking/envoy-filter/#EnvoyFilter-Patch-Operation";

static IST0151: Code = Code {
    id: "IST0151",
    name: "EnvoyFilterUsesRelativeOperation",
    level: Level::Warning,
    title: "EnvoyFilter uses a relative operation without a priority",
    why: "Without a priority the creation time of the objects sets the order. After a restore or a migration the \
          patch may find nothing to modify and is skipped without an error.",
    remedy: "Set spec.priority, or use an operation that does not depend on other patches, such as INSERT_FIRST or \
             MERGE.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: lua, namespace: shop}
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    patch: {operation: INSERT_BEFORE, value: {name: shop.lua}}
",
        after: "\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: lua, namespace: shop}
spec:
  priority: 10
  configPatches:
  - applyTo: HTTP_FILTER
    patch: {operation: INSERT_BEFORE, value: {name: shop.lua}}
",
    },
    also: &[],
};

static IST0152: Code = Code {
    id: "IST0152",
    name: "EnvoyFilterUsesReplaceOperationIncorrectly",
    level: Level::Error,
    title: "EnvoyFilter operation REPLACE has no effect here",
    why: "REPLACE is supported only for network filters, HTTP filters and virtual hosts. Elsewhere the patch is \
          ignored.",
    remedy: "Use MERGE, or REMOVE together with ADD.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: timeouts, namespace: shop}
spec:
  configPatches:
  - applyTo: CLUSTER
    patch: {operation: REPLACE, value: {connect_timeout: 1s}}
",
        after: "\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: timeouts, namespace: shop}
spec:
  configPatches:
  - applyTo: CLUSTER
    patch: {operation: MERGE, value: {connect_timeout: 1s}}
",
    },
    also: &[],
};

static IST0153: Code = Code {
    id: "IST0153",
    name: "EnvoyFilterUsesAddOperationIncorrectly",
    level: Level::Error,
    title: "EnvoyFilter operation ADD has no effect here",
    why: "A route configuration cannot be added, and a route is inserted instead. The patch is ignored.",
    remedy: "Use MERGE for a route configuration, INSERT_FIRST, INSERT_BEFORE or INSERT_AFTER for a route.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: route, namespace: shop}
spec:
  configPatches:
  - applyTo: HTTP_ROUTE
    patch: {operation: ADD, value: {name: first}}
",
        after: "\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: route, namespace: shop}
spec:
  configPatches:
  - applyTo: HTTP_ROUTE
    patch: {operation: INSERT_FIRST, value: {name: first}}
",
    },
    also: &[],
};

static IST0154: Code = Code {
    id: "IST0154",
    name: "EnvoyFilterUsesRemoveOperationIncorrectly",
    level: Level::Error,
    title: "EnvoyFilter operation REMOVE has no effect here",
    why: "Route configurations and routes cannot be removed. The patch is ignored.",
    remedy: "Remove the virtual host instead, or change the VirtualService that generates the route.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: route, namespace: shop}
spec:
  priority: 10
  configPatches:
  - applyTo: ROUTE_CONFIGURATION
    patch: {operation: REMOVE}
",
        after: "\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: route, namespace: shop}
spec:
  priority: 10
  configPatches:
  - applyTo: VIRTUAL_HOST
    patch: {operation: REMOVE}
",
    },
    also: &[],
};

static IST0155: Code = Code {
    id: "IST0155",
    name: "EnvoyFilterUsesRelativeOperationWithProxyVersion",
    level: Level::Warning,
    title: "EnvoyFilter patch depends on a filter that is added only for some proxy versions",
    why: "Without a priority the order is not guaranteed, and proxies of other versions do not have the filter.",
    remedy: "Set spec.priority, and use the same proxyVersion in both patches.",
    source: SOURCE,
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: lua, namespace: shop}
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    match: {proxy: {proxyVersion: '^1\\.2.*'}}
    patch: {operation: INSERT_FIRST, value: {name: shop.lua}}
  - applyTo: HTTP_FILTER
    patch: {operation: REPLACE, value: {name: shop.lua}}
",
        after: "\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: lua, namespace: shop}
spec:
  priority: 10
  configPatches:
  - applyTo: HTTP_FILTER
    match: {proxy: {proxyVersion: '^1\\.2.*'}}
    patch: {operation: INSERT_FIRST, value: {name: shop.lua}}
  - applyTo: HTTP_FILTER
    patch: {operation: REPLACE, value: {name: shop.lua}}
",
    },
    also: &[],
};

fn check(_: &View<'_>, filter: &Resource, findings: &mut Findings) {
    let is_ordered = filter.spec()["priority"].as_int().is_some_and(|priority| priority != 0);
    let mut for_versions: BTreeSet<&str> = BTreeSet::new();
    let mut reported: BTreeSet<&str> = BTreeSet::new();
    for (index, item) in filter.spec()["configPatches"].items().iter().enumerate() {
        let patch = &item["patch"];
        if patch.is_null() {
            break;
        }
        let (apply_to, operation) = (item["applyTo"].text(), patch["operation"].text());
        let name = filter_name(item);
        let is_route = matches!(apply_to, "ROUTE_CONFIGURATION" | "HTTP_ROUTE");
        let code = match operation {
            "ADD" if is_route => Some(&IST0153),
            "REMOVE" if is_route => Some(&IST0154),
            "REPLACE" if !matches!(apply_to, "NETWORK_FILTER" | "HTTP_FILTER" | "VIRTUAL_HOST") => Some(&IST0152),
            "REMOVE" | "REPLACE" | "INSERT_BEFORE" | "INSERT_AFTER" if !is_ordered => {
                Some(if for_versions.contains(name) { &IST0155 } else { &IST0151 })
            }
            _ => None,
        };
        // One cause, one finding: only the first such patch of an object is reported.
        if let Some(code) = code.filter(|code| reported.insert(code.id)) {
            findings
                .add(code, filter, message(code, apply_to, operation, name))
                .field(format!("spec.configPatches[{index}].patch.operation"));
        }
        if !item.at("match.proxy.proxyVersion").text().is_empty() {
            for_versions.insert(name);
        }
    }
}

fn message(code: &Code, apply_to: &str, operation: &str, name: &str) -> String {
    match code.id {
        "IST0151" => format!("{operation} on {apply_to} depends on other patches, but the priority is 0"),
        "IST0155" => format!("{operation} on {name}, which an earlier patch adds only for some proxy versions"),
        _ => format!("{operation} has no effect on {apply_to}"),
    }
}

/// Name of the filter that a patch changes: the one in its value, or that of the filter it matches.
fn filter_name(item: &Value) -> &str {
    let value = &item["patch"]["value"];
    match value["name"].as_str() {
        Some(name) => name,
        None if value.is_set() => item.at("match.listener.filterChain.filter.name").text(),
        None => "",
    }
}
