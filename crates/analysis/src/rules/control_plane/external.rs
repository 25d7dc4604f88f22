//! Checks the webhooks of an external control plane. Source: istio
//! `analyzers/externalcontrolplane/externalcontrolplane.go`.
//!
//! Differs from istioctl: a URL without a host is reported too.

use core::net::IpAddr;

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "externalcontrolplane.ExternalControlPlaneAnalyzer",
    codes: &[&IST0163, &IST0164],
    inputs: &[Kind::ValidatingWebhookConfiguration, Kind::MutatingWebhookConfiguration],
    check: Check::Each(&[Kind::ValidatingWebhookConfiguration, Kind::MutatingWebhookConfiguration], check),
};

static IST0163: Code = Code {
    id: "IST0163",
    name: "InvalidExternalControlPlaneConfig",
    level: Level::Warning,
    title: "Istio webhook has an invalid address",
    why: "The API server cannot call the webhook: pods are not injected, or objects cannot be created.",
    remedy: "Set clientConfig.url to the https address of the external istiod, or clientConfig.service to the istiod \
             in the cluster.",
    source: "https://istio.io/latest/docs/setup/install/external-controlplane/",
    example: Example {
        before: "\
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-sidecar-injector-external}
webhooks: [{name: rev.namespace.sidecar-injector.istio.io, clientConfig: {}}]
",
        after: "\
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-sidecar-injector-external}
webhooks:
- {name: rev.namespace.sidecar-injector.istio.io, clientConfig: {url: 'https://istiod.example.com:15017/inject'}}
",
    },
    also: &[],
};

static IST0164: Code = Code {
    id: "IST0164",
    name: "ExternalControlPlaneAddressIsNotAHostname",
    level: Level::Info,
    title: "External control plane is addressed by an IP address",
    why: "A certificate is usually issued for a host name and not for an IP address, and the address may change.",
    remedy: "Use a host name for which the control plane has a certificate.",
    source: "https://istio.io/latest/docs/setup/install/external-controlplane/",
    example: Example {
        before: "\
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-sidecar-injector-external}
webhooks:
- {name: rev.namespace.sidecar-injector.istio.io, clientConfig: {url: 'https://192.0.2.1:15017/inject'}}
",
        after: "\
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-sidecar-injector-external}
webhooks:
- {name: rev.namespace.sidecar-injector.istio.io, clientConfig: {url: 'https://istiod.example.com:15017/inject'}}
",
    },
    also: &[],
};

fn check(_: &View<'_>, configuration: &Resource, findings: &mut Findings) {
    let name = configuration.name.as_str();
    let is_istio = match configuration.kind {
        Kind::ValidatingWebhookConfiguration => {
            name == "istiod-default-validator" || name.starts_with("istio-validator")
        }
        _ => name.starts_with("istio-sidecar-injector"),
    };
    if !is_istio {
        return;
    }
    for (index, webhook) in configuration.root["webhooks"].items().iter().enumerate() {
        let client = &webhook["clientConfig"];
        let hook = webhook["name"].text();
        let Some(url) = client["url"].as_str() else {
            if client["service"].is_null() {
                findings
                    .add(&IST0163, configuration, format!("webhook {hook} has neither url nor service"))
                    .field(format!("webhooks[{index}].clientConfig"))
                    .arguments(["", hook, "is blank"]);
            }
            continue;
        };
        let field = format!("webhooks[{index}].clientConfig.url");
        match host(url) {
            None => {
                findings
                    .add(&IST0163, configuration, format!("url {url} of webhook {hook} is not valid"))
                    .field(field)
                    .arguments([url, hook, "was provided in an invalid format"]);
            }
            Some(host) if host.parse::<IpAddr>().is_ok() => {
                findings
                    .add(&IST0164, configuration, format!("url {url} of webhook {hook} uses an IP address"))
                    .field(field)
                    .arguments([url, hook]);
            }
            Some(_) => {}
        }
    }
}

/// Host of a URL, without its port and without the brackets of an IPv6 address.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split_once(']')?.0,
        None => match authority.split_once(':') {
            Some((host, port)) => port.parse::<u16>().ok().map(|_| host)?,
            None => authority,
        },
    };
    let is_wrong =
        |character: char| character.is_whitespace() || character.is_control() || "<>\"{}|^`".contains(character);
    (!host.is_empty() && !host.contains(is_wrong)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn address_is_split_into_host_and_port() {
        assert_eq!(host("https://istiod.example.com:15017/inject?a=b:c"), Some("istiod.example.com"));
        assert_eq!(host("https://[2001:db8::1]:15017/inject"), Some("2001:db8::1"));
        assert_eq!(host("https://istiod.example.com:port/"), None);
        assert_eq!(host("istiod.example.com"), None);
        assert_eq!(host("https://"), None);
    }
}
