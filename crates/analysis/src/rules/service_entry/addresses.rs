//! Checks for TCP ports of a ServiceEntry without an address. Source: istio
//! `analyzers/serviceentry/protocoladdresses.go`.
//!
//! Differs from istioctl: `PILOT_ENABLE_IP_AUTOALLOCATE` counts without DNS capture and in the environment of istiod
//! too, because istiod allocates the addresses (istio/istio#58557, #56083, #56322).

use crate::istio::component::is_istiod;
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "serviceentry.Analyzer",
    codes: &[&IST0134],
    inputs: &[Kind::ServiceEntry, Kind::MeshConfig, Kind::Deployment],
    check: Check::Each(&[Kind::ServiceEntry], check),
};

static IST0134: Code = Code {
    id: "IST0134",
    name: "ServiceEntryAddressesRequired",
    level: Level::Warning,
    title: "TCP port of a ServiceEntry has no address",
    why: "TCP does not carry a host name. Without an address the proxy routes all traffic on this port to the host, \
          whatever its destination.",
    remedy: "Set addresses, enable automatic address allocation (DNS capture, PILOT_ENABLE_IP_AUTOALLOCATE), or use a \
             protocol that carries a host name.",
    source: "https://istio.io/latest/docs/ops/configuration/traffic-management/dns-proxy/",
    example: Example {
        before: "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: shop}
spec:
  hosts: [db.example.com]
  ports: [{name: tcp, number: 5432, protocol: TCP}]
  resolution: DNS
",
        after: "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: shop}
spec:
  hosts: [db.example.com]
  addresses: [240.0.0.1]
  ports: [{name: tcp, number: 5432, protocol: TCP}]
  resolution: DNS
",
    },
    also: &[],
};

const AUTO_ALLOCATE: &str = "PILOT_ENABLE_IP_AUTOALLOCATE";

fn check(view: &View<'_>, entry: &Resource, findings: &mut Findings) {
    let spec = entry.spec();
    if !spec["addresses"].is_empty() || !entry.status()["addresses"].is_empty() {
        return;
    }
    let is_tcp = |protocol: &str| protocol.is_empty() || protocol.eq_ignore_ascii_case("TCP");
    let Some((index, port)) =
        spec["ports"].items().iter().enumerate().find(|(_, port)| is_tcp(port["protocol"].text()))
    else {
        return;
    };
    if allocates_addresses(view) {
        return;
    }
    let message = format!(
        "port {} is TCP, but the ServiceEntry has no addresses to match its traffic",
        port["number"].scalar_text()
    );
    findings.add(&IST0134, entry, message).field(format!("spec.ports[{index}].name"));
}

fn allocates_addresses(view: &View<'_>) -> bool {
    let metadata = view.mesh().config().at("defaultConfig.proxyMetadata");
    let is_on = |key: &str| metadata[key].text() == "true";
    is_on(AUTO_ALLOCATE)
        || (is_on("ISTIO_META_DNS_CAPTURE") && is_on("ISTIO_META_DNS_AUTO_ALLOCATE"))
        || view
            .in_namespace(Kind::Deployment, crate::mesh::ISTIO_NAMESPACE)
            .iter()
            .filter(|deployment| is_istiod(deployment.labels()))
            .flat_map(|deployment| deployment.pod_template().at("spec.containers").items())
            .flat_map(|container| container["env"].items())
            .any(|variable| variable["name"].text() == AUTO_ALLOCATE && variable["value"].text() == "true")
}
