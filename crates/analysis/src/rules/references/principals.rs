//! Principals that nobody is. Source: Kiali's checks KIA0106, KIA0108; kiali/kiali#7262.

use crate::rules::scope::{is_of_each_cluster, knows_namespaces, knows_service_accounts};
use crate::{Check, Code, Example, Findings, Kind, Level, Node, Resource, Rule, View, generated};

/// The rule.
pub static RULE: Rule = Rule {
    name: "references.Principals",
    codes: &[&SH7105, &SH7126, &SH7131],
    reads: &[Kind::AuthorizationPolicy, Kind::ServiceAccount, Kind::Namespace, Kind::ConfigMap, Kind::MeshConfig],
    check: Check::Each(&[Kind::AuthorizationPolicy], check),
};

static SH7105: Code = Code {
    id: "SH7105",
    name: "PrincipalUnknown",
    level: Level::Warning,
    title: "A policy names a service account that does not exist",
    why: "Nobody has this identity, so this part of the policy never matches; whoever creates the account gets what \
          the policy gives.",
    remedy: "Correct namespace and service account, or remove the principal.",
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
    title: "A principal has a form that no identity has",
    why: "Principals are compared as text with `trust-domain/ns/namespace/sa/account`. In another form, such as with \
          spiffe:// before it, nothing ever matches.",
    remedy: "Write it as cluster.local/ns/NAMESPACE/sa/ACCOUNT, or use serviceAccounts: [NAMESPACE/ACCOUNT].",
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
    name: "PrincipalOfForeignTrustDomain",
    level: Level::Warning,
    title: "A principal is of a trust domain that the mesh does not know",
    why: "Identities of this mesh begin with its own trust domain, or one of its aliases. Another one never matches, unless \
          the mesh accepts certificates of another authority.",
    remedy: "Write cluster.local, which stands for the mesh's own; add the domain to trustDomainAliases when the mesh has \
             got another one; or list it below caCertificates if it is another mesh's.",
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
                                let message = format!("no identity looks like {principal}");
                                findings.add(&SH7126, policy, message).field(path()).arguments([principal]);
                                continue;
                            }
                            Principal::Account { trust_domain, .. } => {
                                if is_foreign(view, trust_domain) {
                                    let message =
                                        format!("{principal} is not of trust domain {}", view.mesh().trust_domain());
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
    /// A wildcard, or somebody outside.
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
        // At a gateway a principal is whatever the client's certificate says.
        _ => Principal::Other,
    }
}

fn is_ours(view: &View<'_>, trust_domain: &str) -> bool {
    let mesh = view.mesh();
    trust_domain == mesh.trust_domain()
        || trust_domain == "cluster.local"
        || mesh.config()["trustDomainAliases"].texts().any(|alias| alias == trust_domain)
}

/// Whether nobody of this trust domain can come. Without the mesh's settings nothing is known, and with authorities of
/// others that do not say whose they are anybody may come.
fn is_foreign(view: &View<'_>, trust_domain: &str) -> bool {
    let authorities = view.mesh().config()["caCertificates"].items();
    let is_accepted = |authority: &Node| {
        let domains = &authority["trustDomains"];
        domains.is_empty() || domains.texts().any(|domain| domain == trust_domain)
    };
    view.has_named(Kind::ConfigMap, view.root_namespace(), "istio") && !authorities.iter().any(is_accepted)
}

/// Each namespace of a cluster has an account, so one without any is not known, or not there.
fn missing(view: &View<'_>, (namespace, account): (&str, &str)) -> Option<String> {
    if account.contains('*') || view.has_named(Kind::ServiceAccount, namespace, account) {
        return None;
    }
    if view.may_be_made(generated::SERVICE_ACCOUNT, namespace, account) {
        return None;
    }
    let is_there = || view.has_named(Kind::Namespace, "", namespace) || is_of_each_cluster(view, namespace);
    if knows_namespaces(view) && !is_there() {
        return Some(format!("there is no namespace {namespace}, and no service account {account} in it"));
    }
    let knows_accounts = knows_service_accounts(view, namespace);
    (knows_accounts && account != "default").then(|| format!("namespace {namespace} has no service account {account}"))
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::reported;

    #[test]
    fn whom_the_mesh_accepts_is_no_stranger() {
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
    fn accounts_of_a_namespace_that_is_not_given_are_not_judged() {
        let elsewhere = super::SH7105.example.before.replace("ns/shop", "ns/other");
        assert!(!reported(&elsewhere).contains("SH7105"));
    }
}
