//! Validates `Sidecar`. Source: `ValidateSidecar`.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{At, IST0106, IST0133, Report};
use super::virtual_service::check_destination;
use super::{selector, server, traffic_policy};
use crate::mesh::ISTIO_NAMESPACE;
use crate::syntax::{address, name, protocol};
use crate::{Check, Findings, Kind, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "schema.ValidationAnalyzer.Sidecar",
    codes: &[&IST0106, &IST0133],
    inputs: &[Kind::Sidecar],
    check: Check::Each(&[Kind::Sidecar], check),
};

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let report = &mut Report::new(resource, findings);
    let spec = At::spec(resource);
    if !selector::check_workload_selector(&spec.key("workloadSelector"), report) {
        return;
    }
    let (ingress, egress) = (spec.key("ingress"), spec.key("egress"));
    let pool = spec.key("inboundConnectionPool");
    let outbound = spec.key("outboundTrafficPolicy");
    if ingress.items().is_empty() && egress.items().is_empty() && outbound.is_null() && pool.is_null() {
        report.error(
            &spec,
            "at least one of ingress, egress, outboundTrafficPolicy and inboundConnectionPool is \
                           required",
        );
        return;
    }
    check_ingress(&ingress, report);
    traffic_policy::check_connection_pool(&pool, report);
    check_egress(&egress, report);
    check_outbound(&outbound, report);
}

fn check_port(port: &At<'_, '_>, report: &mut Report<'_>) {
    if port.get("targetPort").as_int().is_some_and(|target| target > 0) {
        report.error(&port.key("targetPort"), "no effect on a Sidecar");
    }
    let name = port.key("name");
    if !name.is_empty() {
        report.port_name(&name, name.text());
    }
    let named = port.key("protocol");
    if !named.is_empty() && !protocol::is_known(named.text()) {
        report.error(
            &named,
            format_args!("{:?} is not a protocol that Istio supports: {}", named.text(), protocol::names()),
        );
    }
}

fn check_ingress(listeners: &At<'_, '_>, report: &mut Report<'_>) {
    let mut numbers = BTreeSet::new();
    for listener in listeners.each() {
        let port = listener.key("port");
        if port.is_null() {
            report.error(&listener, "a port is required");
            continue;
        }
        check_port(&port, report);
        let number = port.key("number");
        report.port(&number);
        if !numbers.insert(number.int()) {
            report.error(&number, format_args!("duplicate listener port {}", number.int()));
        }
        let bind = listener.key("bind");
        if !bind.is_empty() {
            report.ip(&bind);
        }
        check_default_endpoint(&listener.key("defaultEndpoint"), report);
        let protocol = port.get("protocol").text();
        let tls = listener.key("tls");
        if tls.is_set() {
            check_tls(&tls, report);
            if !protocol::is_tls(protocol) {
                report.error(&tls, "allowed only for HTTPS and TLS ports");
            }
            server::check_tls(&tls, report);
        }
        let pool = listener.key("connectionPool");
        traffic_policy::check_connection_pool(&pool, report);
        if pool.get("http").is_set() && !protocol::is_http(protocol) {
            report.warning(
                &pool.key("http"),
                format_args!(
                    "no effect on a port with protocol {protocol:?}; only tcp \
                                                            applies"
                ),
            );
        }
    }
}

fn check_tls(tls: &At<'_, '_>, report: &mut Report<'_>) {
    for key in ["subjectAltNames", "httpsRedirect", "credentialName", "credentialNames", "tlsCertificates"] {
        if tls.has(key) {
            report.error(&tls.key(key), "not supported for Sidecar listeners");
        }
    }
    let mode = tls.key("mode");
    if matches!(mode.text(), "ISTIO_MUTUAL" | "AUTO_PASSTHROUGH") {
        report.error(&mode, format_args!("{} is not supported for Sidecar listeners", mode.text()));
    }
}

/// `127.0.0.1:PORT`, `0.0.0.0:PORT`, `[::1]:PORT`, `[::]:PORT`, `:PORT` or `unix://PATH`.
fn check_default_endpoint(endpoint: &At<'_, '_>, report: &mut Report<'_>) {
    let text = endpoint.text();
    if text.is_empty() {
        return;
    }
    if let Some(path) = text.strip_prefix(address::UNIX) {
        report.unix_path(endpoint, path);
        return;
    }
    let parts = text.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.starts_with('['));
    let known = parts.is_some_and(|(host, port)| {
        matches!(host, "" | "127.0.0.1" | "0.0.0.0" | "[::1]" | "[::]")
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if !known {
        let text =
            format!("{text:?} must be 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT, :PORT or unix://PATH");
        report.error(endpoint, text);
    }
}

fn check_egress(listeners: &At<'_, '_>, report: &mut Report<'_>) {
    let mut numbers = BTreeSet::new();
    let mut sockets = BTreeSet::new();
    let last = listeners.items().len().saturating_sub(1);
    for (index, listener) in listeners.each().enumerate() {
        if listener.is_null() {
            report.error(&listener, "a listener must not be null");
            continue;
        }
        let port = listener.key("port");
        let bind = listener.key("bind");
        if port.is_null() {
            if index != last {
                report.error(&listener, "only the last listener may omit the port; it applies to all other traffic");
            }
        } else {
            check_port(&port, report);
            check_bind(&listener, &port, &bind, report);
            let number = port.key("number");
            if number.int() == 0 {
                if !sockets.insert(bind.node().text()) {
                    report.error(&bind, "duplicate listener with the same Unix domain socket");
                }
            } else if !numbers.insert(number.int()) {
                report.error(&number, format_args!("duplicate listener port {}", number.int()));
            }
        }
        check_hosts(&listener, report);
    }
}

fn check_bind(listener: &At<'_, '_>, port: &At<'_, '_>, bind: &At<'_, '_>, report: &mut Report<'_>) {
    let number = port.key("number");
    if number.int() != 0 {
        report.port(&number);
        if !bind.is_empty() {
            report.ip(bind);
        }
        return;
    }
    match bind.text().strip_prefix(address::UNIX) {
        Some(path) => report.unix_path(bind, path),
        None => report.error(bind, "without a port number a Unix domain socket is required: unix://PATH"),
    }
    let capture = listener.key("captureMode");
    if !matches!(capture.text(), "" | "DEFAULT" | "NONE") {
        report.error(&capture, "must be DEFAULT or NONE for a Unix domain socket");
    }
}

/// `namespace/host`, with `.`, `*` and `~` for the namespace.
fn check_hosts(listener: &At<'_, '_>, report: &mut Report<'_>) {
    let hosts = listener.key("hosts");
    if hosts.items().is_empty() {
        report.error(listener, "at least one host is required");
    }
    // A Sidecar in the root namespace is the default of all namespaces, and `.` is then the namespace of each workload.
    let own = Some(report.namespace()).filter(|namespace| *namespace != ISTIO_NAMESPACE).unwrap_or(".");
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for host in hosts.each() {
        let Some((namespace, name)) = host.node().text().split_once('/') else {
            report.error(
                &host,
                "a host must have the form `namespace/host`, with `.` for the own namespace and `*` for \
                               all",
            );
            continue;
        };
        if !namespace.starts_with('~') {
            let names = seen.entry(if namespace == "." { own } else { namespace }).or_default();
            let twice = if name == "*" { !names.is_empty() } else { names.contains(name) || names.contains("*") };
            if twice {
                report.warning(&host, format_args!("{:?} duplicates or overlaps an earlier entry", host.text()));
            }
            names.insert(name);
        }
        if namespace.is_empty() || name.is_empty() {
            report.error(&host, "both the namespace and the host are required, as in `namespace/host`");
        }
        let plain = namespace.strip_prefix('~').unwrap_or(namespace);
        if !matches!(plain, "" | "*" | ".") && !name::is_label(plain) {
            report.error(&host, format_args!("{namespace:?} is not a namespace"));
        }
        if name != "*" && !name.contains('.') {
            report.error(
                &host,
                format_args!(
                    "{name:?} is a short name; a Sidecar requires a fully qualified domain \
                                              name"
                ),
            );
        }
        report.check(&host, name::check_wildcard(name));
        if name::is_partial_wildcard(name) {
            report.error(&host, format_args!("in {name:?} the `*` must be a whole label"));
        }
    }
    if seen.len() > 1 && seen.get("*").is_some_and(|names| names.contains("*")) {
        report.warning(&hosts, "`*/*` matches everything, so the other hosts have no effect");
    }
}

fn check_outbound(policy: &At<'_, '_>, report: &mut Report<'_>) {
    let mode = policy.key("mode");
    if mode.text() == "ALLOW_ANY_DYNAMIC_DNS" {
        report.error(&mode, "this mode is supported only in MeshConfig");
        return;
    }
    let proxy = policy.key("egressProxy");
    if proxy.is_null() {
        return;
    }
    // The default mode is REGISTRY_ONLY.
    if mode.text() != "ALLOW_ANY" {
        report.error(&proxy, "requires mode: ALLOW_ANY");
        return;
    }
    let host = proxy.key("host");
    report.check(&host, name::check_fqdn(host.text()));
    if proxy.get("port").is_null() {
        report.error(&proxy, "a port is required");
        return;
    }
    check_destination(&proxy, report);
}
