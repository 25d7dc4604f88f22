//! Resolves a host to a Service. Source: istio `pilot/pkg/model/config.go` (`ResolveShortnameToFQDN`), `pkg/config/host`;
//! Kubernetes, "DNS for Services and Pods".

/// A host that means a Service of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceHost<'a> {
    /// Its name; `*` for all of the namespace.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// The cluster's domain, such as `cluster.local`; none if the host is a name alone.
    pub domain: Option<&'a str>,
}

/// The Service that `host` means in an object of the namespace `from`: a name without a dot is one of that namespace, and
/// `name.namespace.svc.DOMAIN` one of any cluster domain. None for every other host: Istio does not complete
/// `name.namespace`.
#[must_use]
pub fn service<'a>(host: &'a str, from: &'a str) -> Option<ServiceHost<'a>> {
    let Some((name, rest)) = host.split_once('.') else {
        return (!host.is_empty() && host != "*").then_some(ServiceHost { name: host, namespace: from, domain: None });
    };
    let (namespace, domain) = rest.split_once(".svc.")?;
    let is_service = !name.is_empty() && !namespace.is_empty() && !namespace.contains('.') && !domain.is_empty();
    is_service.then_some(ServiceHost { name, namespace, domain: Some(domain) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_resolves_to_the_service_that_istio_selects() {
        let of = |host| service(host, "shop").map(|it| (it.name, it.namespace, it.domain));
        for (host, wanted) in [
            ("reviews", Some(("reviews", "shop", None))),
            ("reviews.web.svc.cluster.local", Some(("reviews", "web", Some("cluster.local")))),
            ("reviews.web.svc.example.org", Some(("reviews", "web", Some("example.org")))),
            ("*.web.svc.cluster.local", Some(("*", "web", Some("cluster.local")))),
            ("reviews.web", None),
            ("reviews.web.svc", None),
            ("a.b.web.svc.cluster.local", None),
            ("example.com", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(of(host), wanted, "{host}");
        }
    }
}
