//! Checks the principals in policies. Source: Kiali's checks KIA0106, KIA0108; kiali/kiali#7262.

use crate::rules::support::completeness::{is_of_each_cluster, knows_namespaces, knows_service_accounts};
use crate::{Check, Code, Example, Findings, Kind, Level, Resource, Rule, Value, View, generated};

pub static RULE: Rule = Rule {
    name: "references.Principals",
    codes: &[&SH7105, &SH7126, &SH7131],
    inputs: &[Kind::AuthorizationPolicy, Kind::ServiceAccount, Kind::Namespace, Kind::ConfigMap, Kind::MeshConfig],
    check: Check::Each(&[Kind::AuthorizationPolicy], check),
};

static SH7105: Code = Code {
    id: "SH7105",
    name: "PrincipalUnknown",
    level: Level::Warning,
    title: "Service account in a policy does not exist",
    why: "No client has this identity, so this match never applies. Anyone who creates a service account with this \
          name receives the permissions.",
    remedy: "Correct the namespace and service account, or remove the principal.",
    source: "https://kiali.io/docs/features/validations/#kia0106---service-account-not-found-for-this-principal",
    example: Example {
        before: "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: frontend, namespace: shop}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/front-end]}}]
",
        after: "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: frontend, namespace: shop}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/frontend]}}]
",
    },
    also: &["KIA0106"],
};

static SH7126: Code = Code {
    id: "SH7126",
    name: "PrincipalMalformed",
    level: Level::Error,
    title: "Principal is not a valid SPIFFE identity",
    why: "A principal is compared as text with `<trust-domain>/ns/<namespace>/sa/<service-account>`. Another form, \
          such as one with the prefix spiffe://, never matches.",
    remedy: "Use cluster.local/ns/NAMESPACE/sa/ACCOUNT, or serviceAccounts: [NAMESPACE/ACCOUNT].",
    source: "https://istio.io/latest/docs/reference/config/security/authorization-policy/#Source",
    example: Example {
        before: "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  rules:
  - from: [{source: {principals: ['spiffe://cluster.local/ns/shop/sa/frontend']}}]
",
        after: "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/frontend]}}]
",
    },
    also: &[],
};

static SH7131: Code = Code {
    id: "SH7131",
    name: "TrustDomainUnknown",
    level: Level::Warning,
    title: "Principal uses an unknown trust domain",
    why: "Identities of this mesh start with its trust domain or one of its aliases. Another trust domain never \
          matches, unless the mesh accepts certificates of another CA.",
    remedy: "Use cluster.local, which always matches the trust domain of the mesh. After a change of the trust \
             domain, add the old one to trustDomainAliases. For a federated mesh, list its trust domain in \
             caCertificates.",
    source: "https://kiali.io/docs/features/validations/#kia0108---principal-does-not-belong-to-any-configured-trust-domain",
    example: Example {
        before: "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'trustDomain: example.com'}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  rules:
  - from: [{source: {principals: [example.org/ns/shop/sa/frontend]}}]
",
        after: "\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'trustDomain: example.com'}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  rules:
  - from: [{source: {principals: [example.com/ns/shop/sa/frontend]}}]
",
    },
    also: &["KIA0108"],
};

const FIELDS: [&str; 4] = ["principals", "notPrincipals", "serviceAccounts", "notServiceAccounts"];

fn check(view: &View<'_>, policy: &Resource, findings: &mut Findings) {
    for (index, rule) in policy.spec()["rules"].items().iter().enumerate() {
        for (at, entry) in rule["from"].items().iter().enumerate() {
            for field in FIELDS {
                for (which, principal) in entry["source"][field].texts().enumerate() {
                    let path = || format!("spec.rules[{index}].from[{at}].source.{field}[{which}]");
                    let account = if field.ends_with("rincipals") {
                        match parse(principal) {
                            Principal::Account { trust_domain, namespace, account } if is_ours(view, trust_domain) => {
                                (namespace, account)
                            }
                            Principal::Malformed => {
                                let message = format!("{principal} does not have the form of an identity");
                                findings.add(&SH7126, policy, message).field(path()).arguments([principal]);
                                continue;
                            }
                            Principal::Account { trust_domain, .. } => {
                                if is_foreign(view, trust_domain) {
                                    let message =
                                        format!("{principal} is not in trust domain {}", view.mesh().trust_domain());
                                    findings.add(&SH7131, policy, message).field(path()).arguments([principal]);
                                }
                                continue;
                            }
                            Principal::Other => continue,
                        }
                    } else {
                        principal.split_once('/').unwrap_or((&policy.namespace, principal))
                    };
                    if let Some(message) = missing(view, account) {
                        findings.add(&SH7105, policy, message).field(path()).arguments([principal]);
                    }
                }
            }
        }
    }
}

enum Principal<'a> {
    Account {
        trust_domain: &'a str,
        namespace: &'a str,
        account: &'a str,
    },
    Malformed,
    /// A wildcard, or an identity outside the mesh.
    Other,
}

fn parse(principal: &str) -> Principal<'_> {
    if principal.starts_with("spiffe://") {
        return Principal::Malformed;
    }
    if principal.contains('*') {
        return Principal::Other;
    }
    match principal.split('/').collect::<Vec<_>>()[..] {
        [trust_domain, "ns", namespace, "sa", account] => Principal::Account { trust_domain, namespace, account },
        // At a gateway a principal comes from the client's own certificate.
        _ => Principal::Other,
    }
}

fn is_ours(view: &View<'_>, trust_domain: &str) -> bool {
    let mesh = view.mesh();
    trust_domain == mesh.trust_domain()
        || trust_domain == "cluster.local"
        || mesh.config()["trustDomainAliases"].texts().any(|alias| alias == trust_domain)
}

/// Whether no client of this trust domain can exist. Without the MeshConfig the trust domains are unknown, and a
/// caCertificates entry without trust domains may allow any.
fn is_foreign(view: &View<'_>, trust_domain: &str) -> bool {
    let authorities = view.mesh().config()["caCertificates"].items();
    let is_accepted = |authority: &Value| {
        let domains = &authority["trustDomains"];
        domains.is_empty() || domains.texts().any(|domain| domain == trust_domain)
    };
    view.has_named(Kind::ConfigMap, view.root_namespace(), "istio") && !authorities.iter().any(is_accepted)
}

/// Every namespace of a cluster has at least one service account; without any, the accounts were not read or the
/// namespace does not exist.
fn missing(view: &View<'_>, (namespace, account): (&str, &str)) -> Option<String> {
    if account.contains('*') || view.has_named(Kind::ServiceAccount, namespace, account) {
        return None;
    }
    if view.may_be_made(generated::SERVICE_ACCOUNT, namespace, account) {
        return None;
    }
    let is_there = || view.has_named(Kind::Namespace, "", namespace) || is_of_each_cluster(view, namespace);
    if knows_namespaces(view) && !is_there() {
        return Some(format!("namespace {namespace} with service account {account} does not exist"));
    }
    let knows_accounts = knows_service_accounts(view, namespace);
    (knows_accounts && account != "default").then(|| format!("namespace {namespace} has no service account {account}"))
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn accepted_trust_domains_are_known() {
        let before = super::SH7131.example.before;
        for (from, to) in [
            ("'trustDomain: example.com'", "'{trustDomain: example.com, trustDomainAliases: [example.org]}'"),
            (
                "'trustDomain: example.com'",
                "'{trustDomain: example.com, caCertificates: [{pem: x, trustDomains: [example.org]}]}'",
            ),
            ("example.org/ns", "cluster.local/ns"),
            ("name: istio,", "name: other,"),
        ] {
            assert!(!reported(&before.replace(from, to)).contains("SH7131"), "{to}");
        }
    }

    #[test]
    fn accounts_of_missing_namespace_are_ignored() {
        let elsewhere = super::SH7105.example.before.replace("ns/shop", "ns/other");
        assert!(!reported(&elsewhere).contains("SH7105"));
    }
}
