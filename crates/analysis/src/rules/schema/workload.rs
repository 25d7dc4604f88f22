//! Validates `WorkloadEntry`, which is also the type of ServiceEntry endpoints, and `WorkloadGroup`. Source:
//! `validateWorkloadEntry`, `ValidateWorkloadGroup`.

use std::collections::BTreeSet;

use super::report::{At, IST0106, IST0133, Report};
use crate::syntax::{address, name};
use crate::{Check, Findings, Kind, Resource, Rule, View};

pub static ENTRY: Rule = Rule {
    name: "schema.ValidationAnalyzer.WorkloadEntry",
    codes: &[&IST0106, &IST0133],
    inputs: &[Kind::WorkloadEntry],
    check: Check::Each(&[Kind::WorkloadEntry], check_entry),
};

pub static GROUP: Rule = Rule {
    name: "schema.ValidationAnalyzer.WorkloadGroup",
    codes: &[&IST0106],
    inputs: &[Kind::WorkloadGroup],
    check: Check::Each(&[Kind::WorkloadGroup], check_group),
};

fn check_entry(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    check_workload(&At::spec(resource), None, &mut Report::new(resource, findings));
}

/// An endpoint of a ServiceEntry with STATIC resolution, whose ports have the names in `ports`.
pub(super) fn check_endpoint(endpoint: &At<'_, '_>, ports: &BTreeSet<&str>, report: &mut Report<'_>) {
    check_workload(endpoint, Some(ports), report);
}

fn check_workload(workload: &At<'_, '_>, service_ports: Option<&BTreeSet<&str>>, report: &mut Report<'_>) {
    let at = workload.key("address");
    let text = at.text();
    if text.is_empty() {
        if !workload.has("network") {
            report.error(workload, "an address is required");
            return;
        }
        report.warning(workload, "without an address the endpoint is reached through the gateway of its network");
    }
    let ports = workload.key("ports");
    if let Some(path) = text.strip_prefix(address::UNIX) {
        report.unix_path(&at, path);
        if !ports.is_empty() {
            report.error(&ports, "ports are not allowed with a Unix domain socket");
        }
        if service_ports.is_some_and(|ports| ports.len() != 1) {
            report.error(&at, "with a Unix domain socket the ServiceEntry must have exactly one port");
        }
    } else if !text.is_empty() && !address::is_ip(text) {
        if service_ports.is_some() {
            report.error(&at, format_args!("must be an IP address with resolution STATIC, not {text:?}"));
        } else if name::check_fqdn(text).is_err() {
            report.error(&at, format_args!("{text:?} is not an IP address or domain name"));
        }
    }
    check_ports(&ports, service_ports, report);
    report.labels(&workload.key("labels"));
}

/// Ports by their names in the ServiceEntry.
pub(super) fn check_ports(ports: &At<'_, '_>, service_ports: Option<&BTreeSet<&str>>, report: &mut Report<'_>) {
    for (name, port) in ports.each_entry() {
        if service_ports.is_some_and(|known| !known.contains(name)) {
            report.error(&port, format_args!("the ServiceEntry has no port {name:?}"));
        }
        report.port_name(&port, name);
        report.port(&port);
    }
}

fn check_group(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let report = &mut Report::new(resource, findings);
    let spec = At::spec(resource);
    if spec.get("template").is_null() {
        report.error(&spec, "a template is required");
        return;
    }
    report.labels(&spec.key("metadata").key("labels"));
    check_probe(&spec.key("probe"), report);
}

fn check_probe(probe: &At<'_, '_>, report: &mut Report<'_>) {
    if probe.is_null() {
        return;
    }
    for key in ["periodSeconds", "initialDelaySeconds", "timeoutSeconds", "successThreshold", "failureThreshold"] {
        report.not_negative(&probe.key(key));
    }
    let (http, tcp, exec) = (probe.key("httpGet"), probe.key("tcpSocket"), probe.key("exec"));
    if http.is_set() {
        report.port(&http.key("port"));
        let scheme = http.key("scheme");
        if !matches!(scheme.text(), "" | "HTTP" | "HTTPS") {
            report.error(&scheme, "must be HTTP or HTTPS");
        }
        for header in http.key("httpHeaders").each() {
            let name = header.key("name");
            let known = !name.text().is_empty() && name.text().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !known {
                report.error(&name, format_args!("{:?} is not a valid header name", name.text()));
            }
        }
    } else if tcp.is_set() {
        report.port(&tcp.key("port"));
    } else if exec.is_set() {
        if exec.get("command").items().is_empty() {
            report.error(&exec, "a command is required");
        }
    } else if probe.get("grpc").is_null() {
        report.error(probe, "one of httpGet, tcpSocket and exec is required");
    } else {
        report.error(&probe.key("grpc"), "Istio's validation does not support this probe type");
    }
}
