//! Validates `ServiceEntry`. Source: `ValidateServiceEntry`.

use std::collections::BTreeSet;

use super::report::{At, IST0106, IST0133, Report};
use super::{export_to, selector, workload};
use crate::syntax::{address, name, protocol};
use crate::{Check, Findings, Kind, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "schema.ValidationAnalyzer.ServiceEntry",
    codes: &[&IST0106, &IST0133],
    inputs: &[Kind::ServiceEntry],
    check: Check::Each(&[Kind::ServiceEntry], check),
};

/// Properties of the ServiceEntry that the validation of its parts needs.
struct Entry<'a> {
    hosts: At<'a, 'a>,
    addresses: At<'a, 'a>,
    ports: At<'a, 'a>,
    endpoints: At<'a, 'a>,
    resolution: &'a str,
    port_names: BTreeSet<&'a str>,
}

fn check(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let report = &mut Report::new(resource, findings);
    let spec = At::spec(resource);
    let workloads = spec.key("workloadSelector");
    if !selector::check_workload_selector(&workloads, report) {
        return;
    }
    let resolution = match resource.spec()["resolution"].text() {
        "" => "NONE",
        stated => stated,
    };
    let ports = spec.key("ports");
    let entry = Entry {
        hosts: spec.key("hosts"),
        addresses: spec.key("addresses"),
        endpoints: spec.key("endpoints"),
        resolution,
        port_names: ports.node().items().iter().map(|port| port["name"].text()).collect(),
        ports,
    };
    if workloads.is_set() && !entry.endpoints.items().is_empty() {
        report.error(&entry.endpoints, "workloadSelector and endpoints are mutually exclusive");
    }
    check_hosts(&entry, report);
    check_addresses(&entry, report);
    check_ports(&entry, report);
    match resolution {
        "NONE" => {
            if !entry.endpoints.items().is_empty() {
                report.error(
                    &entry.endpoints,
                    "with resolution NONE the client's destination address is used, so endpoints are not allowed",
                );
            }
            if workloads.is_set() {
                report.warning(
                    &workloads,
                    "with resolution NONE the client's destination address is used, so a workloadSelector is not \
                     allowed",
                );
            }
        }
        "STATIC" => {
            for endpoint in entry.endpoints.each() {
                if endpoint.is_null() {
                    report.error(&endpoint, "an endpoint must not be null");
                } else {
                    workload::check_endpoint(&endpoint, &entry.port_names, report);
                }
            }
        }
        "DNS" | "DNS_ROUND_ROBIN" => check_dns(&entry, report),
        "DYNAMIC_DNS" => check_dynamic_dns(&entry, &spec.key("location"), report),
        // Another value violates the CRD schema.
        _ => {}
    }
    // HTTP and TLS carry a host name, TCP does not.
    if resolution != "NONE" && entry.hosts.items().len() > 1 {
        let mut named = entry.ports.each().map(|port| port.node()["protocol"].text());
        if named.any(|named| !protocol::is_http(named) && !protocol::is_tls(named)) {
            report
                .error(&entry.hosts, "several hosts require HTTP or TLS ports, because TCP does not carry a host name");
        }
    }
    export_to::check(&spec.key("exportTo"), true, report);
}

fn check_hosts(entry: &Entry<'_>, report: &mut Report<'_>) {
    if entry.hosts.items().is_empty() {
        report.error(&entry.hosts, "at least one host is required");
    }
    for host in entry.hosts.each() {
        let text = host.text();
        if text == "*" {
            report.error(&host, "`*` is not allowed as a host of a ServiceEntry");
            continue;
        }
        report.check(&host, name::check_wildcard(text));
        if entry.resolution != "DYNAMIC_DNS" && name::is_partial_wildcard(text) {
            report.warning(&host, format_args!("in {text:?} the `*` must be a whole label"));
        }
    }
}

fn check_addresses(entry: &Entry<'_>, report: &mut Report<'_>) {
    for address in entry.addresses.each() {
        report.ip_or_block(&address);
        if address.text().contains('/') && !matches!(entry.resolution, "NONE" | "STATIC") {
            report.error(&address, format_args!("a CIDR requires resolution NONE or STATIC, not {}", entry.resolution));
        }
    }
}

fn check_ports(entry: &Entry<'_>, report: &mut Report<'_>) {
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for port in entry.ports.each() {
        if port.is_null() {
            report.error(&port, "a port must not be null");
            continue;
        }
        let (name, number) = (port.key("name"), port.key("number"));
        let spoken = port.key("protocol");
        if !names.insert(name.node().text()) {
            report.error(&name, format_args!("duplicate port name {:?}", name.text()));
        }
        if !numbers.insert(number.int()) {
            report.error(&number, format_args!("duplicate port number {}", number.int()));
        }
        if port.has("targetPort") {
            report.port(&port.key("targetPort"));
        }
        // With these resolutions Istio allocates addresses automatically.
        let has_address = !entry.addresses.items().is_empty() || entry.resolution != "NONE";
        if !has_address && matches!(spoken.text(), "" | "TCP") {
            report.warning(&port, "without `addresses` a TCP port matches traffic to every address on this port");
        }
        report.port_name(&name, name.text());
        if !spoken.is_empty() && !protocol::is_known(spoken.text()) {
            let text = format!("{:?} is not a protocol that Istio supports: {}", spoken.text(), protocol::names());
            report.error(&spoken, text);
        }
        report.port(&number);
    }
}

fn check_dns(entry: &Entry<'_>, report: &mut Report<'_>) {
    if entry.endpoints.items().is_empty() {
        let wild = entry.hosts.each().find(|host| name::check_fqdn(host.text()).is_err());
        if let Some(host) = wild {
            let text = format!(
                "with resolution {} and without endpoints the host is resolved by DNS, but {:?} cannot be",
                entry.resolution,
                host.text()
            );
            report.error(&host, text);
        }
    }
    if entry.resolution == "DNS_ROUND_ROBIN" && entry.endpoints.items().len() > 1 {
        report.error(&entry.endpoints, "with resolution DNS_ROUND_ROBIN only one endpoint is allowed");
    }
    for endpoint in entry.endpoints.each() {
        if endpoint.is_null() {
            report.error(&endpoint, "an endpoint must not be null");
            continue;
        }
        let address = endpoint.key("address");
        if !address::is_ip(address.text()) && name::check_fqdn(address.text()).is_err() {
            report.error(&address, format_args!("{:?} is not an IP address or domain name", address.text()));
        }
        report.labels(&endpoint.key("labels"));
        workload::check_ports(&endpoint.key("ports"), Some(&entry.port_names), report);
    }
    let mut named = entry.ports.each().map(|port| port.node()["protocol"].text());
    if !entry.addresses.items().is_empty() && entry.hosts.items().len() > 1 && named.any(protocol::is_tcp) {
        report.warning(&entry.hosts, "several hosts share these addresses, but TCP does not carry a host name");
    }
}

fn check_dynamic_dns(entry: &Entry<'_>, location: &At<'_, '_>, report: &mut Report<'_>) {
    for host in entry.hosts.each().filter(|host| !name::is_wildcard(host.text())) {
        report.error(&host, "resolution DYNAMIC_DNS requires a wildcard host; use DNS for a single host");
    }
    for (field, text) in [
        (&entry.addresses, "with resolution DYNAMIC_DNS requests are matched by host, so addresses are not allowed"),
        (
            &entry.endpoints,
            "with resolution DYNAMIC_DNS the host of the request is resolved, so endpoints are not allowed",
        ),
    ] {
        if !field.items().is_empty() {
            report.error(field, text);
        }
    }
    for port in entry.ports.each() {
        let named = port.key("protocol");
        if !["HTTP", "TLS", "GRPC", "HTTP2"].iter().any(|known| known.eq_ignore_ascii_case(named.text())) {
            report.error(&named, "must be HTTP, HTTP2, GRPC or TLS with resolution DYNAMIC_DNS");
        }
    }
    if !matches!(location.text(), "" | "MESH_EXTERNAL" | "MESH_INTERNAL") {
        report.error(location, "must be MESH_EXTERNAL or MESH_INTERNAL");
    }
}
