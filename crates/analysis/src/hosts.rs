//! Resolves hosts: short names, overlaps, and the services that provide a host. Source: istio
//! `pkg/config/analysis/analyzers/util/hosts.go`, `service_lookup.go`, `pkg/config/host`.

use std::borrow::Cow;
use std::sync::Arc;

use super::index::{KeyIndex, Keys};
use super::istio::host;
use super::{Kind, Resource, Value, View};

/// Domain to which [`fqdn`] normalizes hosts of every cluster domain, so that they can be compared.
const DOMAIN: &str = "svc.cluster.local";

/// Expands a short name to its fully qualified form: a name without a dot is a service in `namespace`. A service of
/// another cluster domain gets `cluster.local`, because files do not show the domain of the cluster.
#[must_use]
pub fn fqdn<'a>(host: &'a str, namespace: &str) -> Cow<'a, str> {
    if host.contains('.') || host.starts_with('*') || host.is_empty() {
        if !host.contains(".svc.") || host.ends_with(".svc.cluster.local") {
            return Cow::Borrowed(host);
        }
        match host::service(host, namespace).filter(|it| !it.domain.is_some_and(is_slip)) {
            Some(service) => Cow::Owned(format!("{}.{}.{DOMAIN}", service.name, service.namespace)),
            None => Cow::Borrowed(host),
        }
    } else {
        Cow::Owned(format!("{host}.{namespace}.{DOMAIN}"))
    }
}

/// Namespace and name of the service behind a host of the form `name.namespace.svc.cluster.local`.
#[must_use]
pub fn service_of(fqdn: &str) -> Option<(&str, &str)> {
    let (name, rest) = fqdn.split_once('.')?;
    let (namespace, domain) = rest.split_once('.')?;
    (domain == DOMAIN && !name.is_empty() && !namespace.is_empty()).then_some((namespace, name))
}

/// Whether a domain is `cluster.local` cut off or with one wrong letter, and not the domain of another cluster.
pub(crate) fn is_slip(domain: &str) -> bool {
    const MEANT: &str = "cluster.local";
    if domain == MEANT || domain.contains(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let (a, b) = (domain.as_bytes(), MEANT.as_bytes());
    let same = |pairs: &mut dyn Iterator<Item = (&u8, &u8)>| pairs.take_while(|(a, b)| a == b).count();
    let start = same(&mut a.iter().zip(b));
    let shorter = a.len().min(b.len());
    let end = same(&mut a.iter().rev().zip(b.iter().rev())).min(shorter - start.min(shorter));
    MEANT.starts_with(domain) || a.len().max(b.len()) - start - end <= 1
}

/// Whether a host, as it is written, means a service of a cluster with this domain: it has the domain, or none.
#[must_use]
pub fn is_of_domain(host: &str, domain: &str) -> bool {
    host.split_once(".svc.").is_none_or(|(_, of)| of == domain)
}

/// Whether one host matches the other, in either direction. `*` matches everything, `*.a` everything with the suffix
/// `.a`.
#[must_use]
pub fn overlaps(a: &str, b: &str) -> bool {
    match (a.strip_prefix('*'), b.strip_prefix('*')) {
        (Some(a), Some(b)) => a.ends_with(b) || b.ends_with(a),
        (Some(suffix), None) => b.ends_with(suffix),
        (None, Some(suffix)) => a.ends_with(suffix),
        (None, None) => a == b,
    }
}

/// Whether `general` matches every host that `special` matches.
#[must_use]
pub fn covers(general: &str, special: &str) -> bool {
    match (general.strip_prefix('*'), special.strip_prefix('*')) {
        (Some(general), Some(special)) => special.ends_with(general),
        (Some(suffix), None) => special.ends_with(suffix),
        (None, Some(_)) => false,
        (None, None) => general == special,
    }
}

/// Namespaces to which an object is visible, or `*` for all. From `spec.exportTo`, or the annotation of a Service.
pub fn scopes(resource: &Resource) -> Vec<&str> {
    let mut scopes: Vec<&str> = if resource.kind == Kind::Service {
        let listed = resource.annotation("networking.istio.io/exportTo").unwrap_or_default();
        listed.split(',').map(str::trim).filter(|scope| !scope.is_empty()).collect()
    } else {
        resource.spec()["exportTo"].texts().collect()
    };
    for scope in &mut scopes {
        if *scope == "." {
            *scope = &resource.namespace;
        }
    }
    if scopes.is_empty() || scopes.contains(&"*") { vec!["*"] } else { scopes }
}

static PROVIDERS: KeyIndex =
    KeyIndex { name: "hosts by scope", kinds: &[Kind::Service, Kind::ServiceEntry], keys: by_scope_and_host };

fn by_scope_and_host(provider: &Resource, keys: &mut Keys<'_>) {
    for scope in scopes(provider) {
        if provider.kind == Kind::Service {
            keys.add(&[scope, &fqdn(&provider.name, &provider.namespace)]);
        } else {
            for host in provider.spec()["hosts"].texts() {
                keys.add(&[scope, &fqdn(host, &provider.namespace)]);
            }
        }
    }
}

impl<'a> View<'a> {
    /// Services and service entries that provide the host in an object, as far as the object's namespace can see them:
    /// those of the exact host, else those of the longest matching wildcard. Empty if there is none. Needs
    /// [`Kind::Service`] and [`Kind::ServiceEntry`].
    ///
    /// As in Istio's analyzers, `exportTo` of the referrer widens the search, because the namespaces that use the
    /// referrer resolve the host again.
    #[must_use]
    pub fn providers(&self, referrer: &Resource, host: &str) -> &'a [Arc<Resource>] {
        let own: &str = &referrer.namespace;
        let host = fqdn(host, own);
        let export_to: Vec<&str> = referrer.spec()["exportTo"].texts().collect();
        let mut scopes = vec!["*"];
        if export_to.is_empty() {
            scopes.push(own);
        } else {
            scopes.extend(export_to.into_iter().map(|scope| if scope == "." { own } else { scope }));
        }
        for scope in scopes {
            let found = self.lookup(&PROVIDERS, &[scope, &host]);
            if !found.is_empty() {
                return found;
            }
        }
        let name = host.strip_prefix('*').unwrap_or(&host);
        for suffix in wildcards(name) {
            for scope in [own, "*"] {
                let found = self.lookup(&PROVIDERS, &[scope, &suffix]);
                if !found.is_empty() {
                    return found;
                }
            }
        }
        &[]
    }

    /// Providers of exactly this host that are visible to all namespaces (`*`) or to one.
    #[must_use]
    pub fn providers_in_scope(&self, scope: &str, fqdn: &str) -> &'a [Arc<Resource>] {
        self.lookup(&PROVIDERS, &[scope, fqdn])
    }
}

/// Wildcards that match a name, the longest first: `*.b.c`, `*.c`, `*`.
pub fn wildcards(name: &str) -> impl Iterator<Item = String> {
    let dots = name.match_indices('.').map(|(at, _)| format!("*{}", &name[at..]));
    dots.chain(["*".to_owned()])
}

/// Ports of a Service or ServiceEntry: number and name.
pub fn ports(provider: &Resource) -> impl Iterator<Item = (i64, &str)> {
    let number = if provider.kind == Kind::Service { "port" } else { "number" };
    let ports: &[Value] = provider.spec()["ports"].items();
    ports.iter().filter_map(move |port| Some((port[number].as_int()?, port["name"].text())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_expand_and_services_resolve() {
        assert_eq!(fqdn("a", "n"), "a.n.svc.cluster.local");
        assert_eq!(fqdn("a.b", "n"), "a.b");
        assert_eq!(fqdn("*", "n"), "*");
        assert_eq!(service_of("a.n.svc.cluster.local"), Some(("n", "a")));
        assert_eq!(service_of("a.n.svc.cluster"), None);
        assert_eq!(service_of("x.a.n.svc.cluster.local"), None);
    }

    #[test]
    fn hosts_of_any_cluster_domain_are_services_and_slips_are_not() {
        for (host, full) in [
            ("a.n.svc.example.org", "a.n.svc.cluster.local"),
            ("a.n.svc.cluster1.local", "a.n.svc.cluster.local"),
            ("a.n.svc.cluster", "a.n.svc.cluster"),
            ("a.n.svc.cluster.locl", "a.n.svc.cluster.locl"),
            ("a.n.svc.custom.local", "a.n.svc.cluster.local"),
        ] {
            assert_eq!(fqdn(host, "n"), full, "{host}");
        }
    }

    #[test]
    fn wildcard_hosts_overlap() {
        for (a, b, wanted) in [
            ("a.com", "a.com", true),
            ("a.com", "b.com", false),
            ("*", "a.com", true),
            ("*.com", "a.com", true),
            ("*.com", "com", false),
            ("*.a.com", "*.com", true),
            ("*.a.com", "*.b.com", false),
        ] {
            assert_eq!((overlaps(a, b), overlaps(b, a)), (wanted, wanted), "{a} {b}");
        }
        assert!(covers("*.com", "*.a.com") && !covers("*.a.com", "*.com") && !covers("a.com", "*.a.com"));
    }

    #[test]
    fn longest_wildcard_is_first() {
        assert_eq!(wildcards("a.b.c").collect::<Vec<_>>(), ["*.b.c", "*.c", "*"]);
    }
}
