//! Suggestions ("did you mean") for names that do not exist, for the end of a message. Contains no rule.

use crate::{KeyIndex, Kind, View, generated, hosts};
use sailhand_base::suggest;

static SERVICES: KeyIndex =
    KeyIndex { name: "services by name", kinds: &[Kind::Service], keys: |service, keys| keys.add(&[&service.name]) };

static SECRETS: KeyIndex =
    KeyIndex { name: "secrets by name", kinds: &[Kind::Secret], keys: |secret, keys| keys.add(&[&secret.name]) };

/// Limit on the services of a namespace that are compared with a misspelled name.
const ALIKE: usize = 200;

/// Suggestion for a `host` that matches no service, in an object of namespace `own`: `; did you mean …?`, or empty.
/// Needs [`Kind::Service`].
pub fn host(view: &View<'_>, host: &str, own: &str) -> String {
    let full = hosts::fqdn(host, own);
    let Some((namespace, name)) = hosts::service_of(&full) else {
        return short(view, host).map_or_else(String::new, |(name, namespace)| {
            format!("; Istio requires the full name: {name}.{namespace}.svc.cluster.local")
        });
    };
    let elsewhere = view.lookup(&SERVICES, &[name]);
    if let [one, rest @ ..] = elsewhere {
        let more = if rest.is_empty() { "" } else { ", among others" };
        return format!("; namespace {} has a service {name}{more}", one.namespace);
    }
    let there = view.in_namespace(Kind::Service, namespace);
    let names = there.iter().take(ALIKE).map(|service| service.name.as_str());
    suggest::nearest(name, names).map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

/// Whether a host is a service in a short form that DNS resolves but Istio does not: `name.namespace`,
/// `name.namespace.svc`. Needs [`Kind::Service`].
pub fn is_short(view: &View<'_>, host: &str) -> bool {
    short(view, host).is_some()
}

fn short<'h>(view: &View<'_>, host: &'h str) -> Option<(&'h str, &'h str)> {
    let (name, rest) = host.split_once('.')?;
    let namespace = rest.strip_suffix(".svc").unwrap_or(rest);
    view.has_named(Kind::Service, namespace, name).then_some((name, namespace))
}

/// Whether a Secret of this name is in some namespace, or a controller makes one there. Needs [`Kind::Secret`].
pub fn has_secret(view: &View<'_>, name: &str) -> bool {
    !view.lookup(&SECRETS, &[name]).is_empty() || view.is_made_somewhere(generated::SECRET, name)
}

/// Suggestion for a Secret that is not in the expected namespace; empty if none has this name. Needs [`Kind::Secret`].
pub fn secret(view: &View<'_>, name: &str) -> String {
    let found = view.lookup(&SECRETS, &[name]);
    found
        .first()
        .map_or_else(String::new, |there| format!("; a Secret with this name is in namespace {}", there.namespace))
}

#[cfg(test)]
mod tests {
    use crate::rules::tests::messages;

    fn service(name: &str, namespace: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{ports: [{{port: 80}}]}}\n---\n"
        )
    }

    #[test]
    fn unknown_host_gets_a_suggestion() {
        let services = service("cart", "shop") + &service("other", "web");
        for (host, hint) in
            [("cart", "; namespace shop has a service cart"), ("othre", "; did you mean other?"), ("something", "")]
        {
            let route = format!(
                "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a, namespace: web}}\n\
                 spec: {{hosts: [a], http: [{{route: [{{destination: {{host: {host}}}}}]}}]}}\n"
            );
            let reported = messages(&format!("{services}{route}"), "IST0101");
            assert_eq!(
                reported,
                [format!("host {host}.web.svc.cluster.local matches no service visible to this namespace{hint}")]
            );
        }
    }

    #[test]
    fn short_dns_name_gets_the_full_name() {
        let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a, namespace: web}\n\
                    spec: {host: cart.shop, trafficPolicy: {loadBalancer: {simple: RANDOM}}}\n";
        let reported = messages(&(service("cart", "shop") + rule), "IST0174");
        assert!(reported[0].ends_with("; Istio requires the full name: cart.shop.svc.cluster.local"), "{reported:?}");
    }
}
