//! Validates Istio's `Gateway`. Source: `ValidateGateway`.

use std::collections::BTreeSet;

use super::report::{At, IST0106, IST0133, Report};
use super::server;
use crate::syntax::{address, name, protocol};
use crate::{Check, Findings, Kind, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "schema.ValidationAnalyzer.Gateway",
    codes: &[&IST0106, &IST0133],
    inputs: &[Kind::Gateway],
    check: Check::Each(&[Kind::Gateway], check),
};

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let mut report = Report::new(resource, findings);
    if !name::is_label(&resource.name) {
        report.object_error(
            "metadata.name",
            format_args!("the name of a Gateway must be a DNS label without dots, not {:?}", resource.name),
        );
    }
    let spec = At::spec(resource);
    let servers = spec.key("servers");
    if servers.items().is_empty() {
        report.error(&servers, "at least one server is required");
    }
    let mut names = BTreeSet::new();
    for server in servers.each() {
        check_server(&server, &mut report);
        let port = server.key("port");
        if port.is_set() {
            let name = port.key("name");
            if !names.insert(name.node().text()) {
                report.error(&name, format_args!("duplicate port name {:?}; port names must be unique", name.text()));
            }
            let redirect = server.node().at("tls.httpsRedirect").is_true();
            if redirect && !protocol::is_http(port.get("protocol").text()) {
                report.warning(&server.key("tls"), "httpsRedirect has an effect only on HTTP servers");
            }
        }
    }
}

fn check_server(server: &At<'_, '_>, report: &mut Report<'_>) {
    let hosts = server.key("hosts");
    if hosts.items().is_empty() {
        report.error(&hosts, "at least one host is required");
    }
    for host in hosts.each() {
        check_host(&host, report);
    }
    let port = server.key("port");
    let bind = server.key("bind");
    let port_is_right = check_port(&port, bind.text(), report);
    if let Some(path) = bind.text().strip_prefix(address::UNIX) {
        report.unix_path(&bind, path);
        if port.get("number").as_int().is_some_and(|number| number != 0) {
            report.error(&port.key("number"), "the port number of a Unix domain socket must be 0");
        }
    } else if !bind.text().is_empty() {
        report.ip(&bind);
    }
    let tls = server.key("tls");
    server::check_tls(&tls, report);
    if !port_is_right {
        return;
    }
    let name = port.get("protocol").text();
    if protocol::is_tls(name) {
        if tls.is_null() {
            report.error(server, format_args!("protocol {name} requires `tls`"));
        }
    } else if tls.is_set() {
        let passes = matches!(tls.get("mode").text(), "" | "PASSTHROUGH" | "AUTO_PASSTHROUGH");
        if !protocol::is_http(name) {
            report.error(&tls, format_args!("protocol {name} does not support `tls`; use HTTPS or TLS"));
        } else if !passes || !tls.set(&["caCertificates", "privateKey", "serverCertificate"]).is_empty() {
            report.error(
                &tls,
                format_args!(
                    "protocol {name} supports `tls` only for httpsRedirect; use HTTPS to \
                                             terminate TLS"
                ),
            );
        }
    }
}

fn check_port(port: &At<'_, '_>, bind: &str, report: &mut Report<'_>) -> bool {
    if port.is_null() {
        report.error(port, "a port is required");
        return false;
    }
    let mut right = true;
    let protocol = port.key("protocol");
    if !protocol::is_known(protocol.text()) {
        let text = format!("{:?} is not a protocol that Istio supports: {}", protocol.text(), protocol::names());
        report.error(&protocol, text);
        right = false;
    }
    let number = port.key("number");
    if number.int() > 0 || !bind.starts_with(address::UNIX) {
        report.port(&number);
        right &= (1..=65535).contains(&number.int());
    }
    if port.get("targetPort").as_int().is_some_and(|target| target > 0) {
        report.error(&port.key("targetPort"), "no effect on a Gateway");
        right = false;
    }
    if port.get("name").text().is_empty() {
        report.error(port, "a port requires a name");
        right = false;
    }
    right
}

/// `host`, or `namespace/host` with `.` and `*` for the namespace. Source: `ValidateNamespaceSlashWildcardHostname`.
fn check_host(host: &At<'_, '_>, report: &mut Report<'_>) {
    let Some((namespace, name)) = host.text().split_once('/') else {
        check_host_name(host, host.text(), report);
        return;
    };
    if namespace.is_empty() || name.is_empty() {
        report.error(host, "both the namespace and the name are required, as in `namespace/host`");
    }
    if !matches!(namespace, "*" | ".") && !name::is_label(namespace) {
        report.error(host, format_args!("{namespace:?} is not a namespace name, `*` or `.`"));
    }
    check_host_name(host, name, report);
}

fn check_host_name(at: &At<'_, '_>, host: &str, report: &mut Report<'_>) {
    if host != "*" && !host.contains('.') {
        report.error(at, format_args!("{host:?} is a short name; a Gateway requires a fully qualified domain name"));
    }
    if !address::is_ip(host) {
        report.check(at, name::check_wildcard(host));
    }
    if name::is_partial_wildcard(host) {
        report.error(at, format_args!("in {host:?} the `*` must be a whole label"));
    }
}
