//! Checks for policy hosts that a client can evade by adding a port to the `Host` header. Source: istio.io, security
//! best practices, "Be aware of the host match".

use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, View};

pub static RULE: Rule = Rule {
    name: "access.HostPorts",
    codes: &[&SH7207],
    inputs: &[Kind::AuthorizationPolicy],
    check: Check::Each(&[Kind::AuthorizationPolicy], check),
};

static SH7207: Code = Code {
    id: "SH7207",
    name: "PolicyHostWithoutPorts",
    level: Level::Warning,
    title: "AuthorizationPolicy matches a host without its form with a port",
    why: "A client may add a port to the Host header. The value `example.com` does not match `example.com:8080`, so a \
          DENY policy is bypassed and an ALLOW policy rejects valid requests.",
    remedy: "Add the same host with the suffix `:*`.",
    source: "https://istio.io/latest/docs/ops/best-practices/security/#writing-host-match-policies",
    example: Example {
        before: "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  action: DENY
  rules:
  - to:
    - operation: {hosts: [admin.example.com]}
",
        after: "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  action: DENY
  rules:
  - to:
    - operation: {hosts: [admin.example.com, 'admin.example.com:*']}
",
    },
    also: &[],
};

fn check(_: &View<'_>, policy: &Resource, findings: &mut Findings) {
    for (index, rule) in policy.spec()["rules"].items().iter().enumerate() {
        for (at, entry) in rule["to"].items().iter().enumerate() {
            for field in ["hosts", "notHosts"] {
                let hosts = &entry["operation"][field];
                let missing: Vec<&str> = hosts
                    .texts()
                    .filter(|host| !host.contains(':') && !host.ends_with('*'))
                    .filter(|host| {
                        !hosts
                            .texts()
                            .any(|other| other.strip_prefix(*host).is_some_and(|rest| rest.starts_with([':', '*'])))
                    })
                    .collect();
                if missing.is_empty() {
                    continue;
                }
                let message = format!(
                    "{} is listed without its form with a port, so a request with Host {}:80 does not match",
                    missing.join(", "),
                    missing[0]
                );
                findings
                    .add(&SH7207, policy, message)
                    .field(format!("spec.rules[{index}].to[{at}].operation.{field}"))
                    .arguments(missing);
            }
        }
    }
}
