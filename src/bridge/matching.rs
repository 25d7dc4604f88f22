//! Finds the configured target of a kubeconfig's cluster. Pure: the UIDs that clusters returned are an input. The kubeconfig
//! proves nothing about its sender: it only selects one of the targets that the configuration allows.

use std::collections::BTreeMap;

use super::error::Error;
use super::kubeconfig::{self, Facts, MAX_COUNT, Server};
use crate::config::{Bridge, BridgeTarget};
use crate::event::Target;

/// UIDs of clusters by the position of their kubeconfig in the request, from 0.
pub type Uids = BTreeMap<usize, String>;

/// Reads the kubeconfigs of a request.
///
/// # Errors
/// [`Error::Kubeconfig`], and [`Error::Argument`] for too many.
pub fn read(kubeconfigs: &[String]) -> Result<Vec<Facts>, Error> {
    if kubeconfigs.len() > MAX_COUNT {
        let reason = format!("{} kubeconfigs; {MAX_COUNT} is the limit", kubeconfigs.len());
        return Err(Error::Argument { field: "kube_configs", reason });
    }
    let read = |(index, text): (usize, &String)| {
        kubeconfig::read(text).map_err(|reason| Error::Kubeconfig { number: index + 1, reason })
    };
    kubeconfigs.iter().enumerate().map(read).collect()
}

/// The targets of a request, each once. All or nothing: one kubeconfig without a target refuses the request.
///
/// # Errors
/// [`Error::NoKubeconfig`] and [`Error::NoMatch`].
pub fn targets(bridge: &Bridge, kubeconfigs: &[Facts], uids: &Uids) -> Result<Vec<Target>, Error> {
    let mut found: Vec<Target> = Vec::new();
    for (index, facts) in kubeconfigs.iter().enumerate() {
        let ids = candidates(&bridge.targets, facts, uids.get(&index));
        let target = match ids[..] {
            [id] => id.parse::<Target>().ok(),
            _ => None,
        };
        let target = target.ok_or_else(|| no_match(index + 1, facts, &ids))?;
        if !found.contains(&target) {
            found.push(target);
        }
    }
    if kubeconfigs.is_empty() {
        found.extend(bridge.default_target.as_ref().and_then(|id| id.parse().ok()));
    }
    if found.is_empty() { Err(Error::NoKubeconfig) } else { Ok(found) }
}

fn no_match(number: usize, facts: &Facts, ids: &[&str]) -> Error {
    Error::NoMatch {
        number,
        context: facts.context.chars().take(128).collect(),
        server: facts.server.to_string().chars().take(256).collect(),
        ca: facts.ca_sha256.first().cloned().unwrap_or_else(|| "none".to_owned()),
        matches: if ids.is_empty() { "no target".to_owned() } else { format!("several: {}", ids.join(", ")) },
    }
}

/// Targets by the strongest rule that finds any; several are ambiguous.
fn candidates<'a>(targets: &'a BTreeMap<String, BridgeTarget>, facts: &Facts, uid: Option<&String>) -> Vec<&'a str> {
    // A target with another UID is another cluster, whatever else agrees.
    let is_other =
        |target: &BridgeTarget| uid.is_some() && target.cluster_uid.is_some() && target.cluster_uid.as_ref() != uid;
    let pick = |rule: &dyn Fn(&BridgeTarget) -> bool| -> Vec<&'a str> {
        let fits = targets.iter().filter(|(_, target)| rule(target) && !is_other(target));
        fits.map(|(id, _)| id.as_str()).collect()
    };
    let same_server =
        |target: &BridgeTarget| target.server.iter().any(|text| Server::parse(text).as_ref() == Some(&facts.server));
    let same_ca = |target: &BridgeTarget| target.ca_sha256.iter().any(|digest| facts.ca_sha256.contains(digest));
    let named = |target: &BridgeTarget| target.contexts.contains(&facts.context);
    let contradicts =
        |target: &BridgeTarget| !facts.ca_sha256.is_empty() && !target.ca_sha256.is_empty() && !same_ca(target);

    let same_uid = pick(&|target| uid.is_some() && target.cluster_uid.as_ref() == uid && same_server(target));
    if !same_uid.is_empty() {
        return same_uid;
    }
    let exact = pick(&|target| same_server(target) && same_ca(target));
    if !exact.is_empty() {
        return exact;
    }
    let authority = pick(&same_ca);
    if authority.len() == 1 {
        return authority;
    }
    let context = pick(&|target| named(target) && !contradicts(target));
    if !context.is_empty() {
        return context;
    }
    let address = pick(&|target| target.server_only && facts.ca_sha256.is_empty() && same_server(target));
    if address.is_empty() { authority } else { address }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(server: &str, ca: &str, context: &str, server_only: bool) -> BridgeTarget {
        let list = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty()).into_iter().collect::<Vec<_>>();
        BridgeTarget {
            server: list(server),
            ca_sha256: list(ca),
            contexts: list(context),
            server_only,
            cluster_uid: None,
        }
    }

    fn facts(server: &str, ca: &[&str], context: &str) -> Facts {
        Facts {
            context: context.to_owned(),
            server: Server::parse(server).unwrap(),
            ca_sha256: ca.iter().map(|ca| (*ca).to_owned()).collect(),
        }
    }

    #[test]
    fn kubeconfig_selects_the_target_that_agrees() {
        let targets = BTreeMap::from([
            ("dev".to_owned(), target("https://dev:6443", "ca-dev", "kind-dev", false)),
            ("open".to_owned(), target("https://open", "", "", true)),
            ("one".to_owned(), target("https://proxy/one", "ca-shared", "one", false)),
            ("two".to_owned(), target("https://proxy/two", "ca-shared", "two", false)),
        ]);
        for (facts, wanted) in [
            (facts("https://DEV:6443/", &["ca-dev"], "x"), vec!["dev"]),
            (facts("https://other", &["ca-dev", "ca-new"], "x"), vec!["dev"]),
            (facts("https://other", &[], "kind-dev"), vec!["dev"]),
            (facts("https://dev:6443", &[], "x"), vec![]),
            (facts("https://dev:6443", &["ca-wrong"], "kind-dev"), vec![]),
            (facts("https://open", &[], "x"), vec!["open"]),
            (facts("https://open", &["ca-wrong"], "x"), vec![]),
            (facts("https://proxy/two", &["ca-shared"], "x"), vec!["two"]),
            (facts("https://proxy/three", &["ca-shared"], "x"), vec!["one", "two"]),
            (facts("https://proxy/three", &["ca-shared"], "one"), vec!["one"]),
            (facts("https://nowhere", &["ca-nowhere"], "x"), vec![]),
        ] {
            assert_eq!(candidates(&targets, &facts, None), wanted, "{facts:?}");
        }
    }

    #[test]
    fn uid_of_the_cluster_is_the_strongest_fact() {
        let with_uid = |target: BridgeTarget, uid: &str| BridgeTarget { cluster_uid: Some(uid.to_owned()), ..target };
        let targets = BTreeMap::from([
            ("old".to_owned(), with_uid(target("https://lb", "ca", "a", true), "uid-old")),
            ("new".to_owned(), with_uid(target("https://lb", "ca", "a", true), "uid-new")),
            ("plain".to_owned(), target("https://plain", "ca-plain", "", false)),
        ]);
        for (facts, uid, wanted) in [
            (facts("https://lb", &["ca"], "a"), Some("uid-new"), vec!["new"]),
            (facts("https://lb", &[], "a"), Some("uid-old"), vec!["old"]),
            (facts("https://lb", &["ca"], "a"), Some("uid-other"), vec![]),
            (facts("https://lb", &["ca"], "a"), None, vec!["new", "old"]),
            (facts("https://plain", &["ca-plain"], "x"), Some("uid-any"), vec!["plain"]),
        ] {
            let uid = uid.map(str::to_owned);
            assert_eq!(candidates(&targets, &facts, uid.as_ref()), wanted, "{facts:?} {uid:?}");
        }
    }

    #[test]
    fn one_unknown_cluster_refuses_the_whole_request() {
        let config = |server: &str| {
            format!(
                "current-context: a\ncontexts: [{{name: a, context: {{cluster: c}}}}]\n\
                 clusters: [{{name: c, cluster: {{server: '{server}'}}}}]\nusers: [{{user: {{token: CANARY}}}}]\n"
            )
        };
        let bridge = Bridge {
            targets: BTreeMap::from([("dev".to_owned(), target("https://dev", "", "", true))]),
            ..Bridge::default()
        };
        let targets = |kubeconfigs: &[String]| targets(&bridge, &read(kubeconfigs)?, &Uids::new());
        let twice = [config("https://dev"), config("https://dev:443/")];
        assert_eq!(targets(&twice).unwrap().len(), 1);
        let error = targets(&[config("https://dev"), config("https://prod")]).unwrap_err();
        assert!(error.to_string().contains("https://prod:443") && !error.to_string().contains("CANARY"), "{error}");
        assert!(matches!(targets(&[]), Err(Error::NoKubeconfig)));
        let many = vec![config("https://dev"); MAX_COUNT + 1];
        assert!(matches!(targets(&many), Err(Error::Argument { .. })));
    }
}
