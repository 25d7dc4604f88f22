//! The allow-list of a target: which verbs its commands may have, and which objects they may write.

use super::Target;

impl Target {
    /// Whether commands for this target may have the verb, such as `mesh.install`.
    #[must_use]
    pub fn allows_verb(&self, verb: &str) -> bool {
        lists(self.verbs.as_deref(), |entry| match entry.strip_suffix(".*") {
            Some(family) => verb.split_once('.').is_some_and(|(own, _)| own == family),
            None => entry == "*" || entry == verb,
        })
    }

    /// Whether commands may write the object; `group` is empty for the core group, `namespace` is `None` for
    /// cluster-scoped objects.
    ///
    /// # Errors
    /// The list that does not have the object: `kinds` or `namespaces`.
    pub fn allows_write(
        &self,
        (group, kind): (&str, &str),
        namespace: Option<&str>,
        name: &str,
    ) -> Result<(), &'static str> {
        if !lists(self.kinds.as_deref(), |entry| is_kind(entry, group, kind)) {
            return Err("kinds");
        }
        let namespace = namespace.or((group.is_empty() && kind == "Namespace").then_some(name));
        let Some(namespace) = namespace else {
            // A ClusterRoleBinding or a CRD has an effect in all namespaces.
            return if self.namespaces.is_none() || self.kinds.is_some() { Ok(()) } else { Err("kinds") };
        };
        let is_listed = lists(self.namespaces.as_deref(), |entry| match entry.strip_suffix('*') {
            Some(prefix) => namespace.starts_with(prefix),
            None => entry == namespace,
        });
        if is_listed { Ok(()) } else { Err("namespaces") }
    }
}

fn lists(list: Option<&[String]>, matches: impl Fn(&str) -> bool) -> bool {
    list.is_none_or(|list| list.iter().any(|entry| matches(entry)))
}

fn is_kind(entry: &str, group: &str, kind: &str) -> bool {
    let (entry_kind, entry_group) = entry.split_once('.').unwrap_or((entry, ""));
    entry == "*" || (entry_group == group && (entry_kind == "*" || entry_kind == kind))
}

/// The first entry that has not the form of its list: the key of the list, and the entry.
pub(super) fn malformed(target: &Target) -> Option<(&'static str, &str)> {
    malformed_in("verbs", target.verbs.as_ref(), is_verb_pattern)
        .or_else(|| malformed_in("kinds", target.kinds.as_ref(), is_kind_pattern))
        .or_else(|| malformed_in("namespaces", target.namespaces.as_ref(), is_namespace_pattern))
}

fn malformed_in<'a>(
    key: &'static str,
    list: Option<&'a Vec<String>>,
    is_valid: fn(&str) -> bool,
) -> Option<(&'static str, &'a str)> {
    list?.iter().find(|entry| !is_valid(entry)).map(|entry| (key, entry.as_str()))
}

/// The form of a list's entries, for messages.
pub(super) fn form(list: &str) -> &'static str {
    match list {
        "verbs" => "must be a verb such as \"mesh.install\", a family such as \"mesh.*\", or \"*\"",
        "kinds" => "must be a kind such as \"ConfigMap\" or \"Deployment.apps\", a group such as \"*.apps\", or \"*\"",
        _ => "must be the name of a namespace, a prefix such as \"team-a-*\", or \"*\"",
    }
}

fn is_verb_pattern(entry: &str) -> bool {
    let name = entry.strip_suffix(".*").unwrap_or(entry);
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    entry == "*" || name.split('.').all(is_word)
}

fn is_kind_pattern(entry: &str) -> bool {
    let (kind, group) = entry.split_once('.').unwrap_or((entry, "core"));
    let is_kind = kind.starts_with(|c: char| c.is_ascii_uppercase()) && kind.bytes().all(|b| b.is_ascii_alphanumeric());
    let in_group = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    (kind == "*" || is_kind) && !group.is_empty() && group.bytes().all(in_group)
}

fn is_namespace_pattern(entry: &str) -> bool {
    let name = entry.strip_suffix('*').unwrap_or(entry);
    let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !entry.is_empty() && entry.len() <= 63 && name.bytes().all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::unnecessary_wraps, reason = "the type of the fields")]
    fn list(entries: &[&str]) -> Option<Vec<String>> {
        Some(entries.iter().map(|&entry| entry.to_owned()).collect())
    }

    #[test]
    fn target_without_lists_allows_everything() {
        let target = Target::default();
        assert!(target.allows_verb("mesh.uninstall"));
        assert_eq!(target.allows_write(("rbac.authorization.k8s.io", "ClusterRoleBinding"), None, "a"), Ok(()));
    }

    #[test]
    fn verbs_match_by_name_and_by_family() {
        let target = Target { verbs: list(&["ping", "traffic.*", "config.analyze"]), ..Target::default() };
        for verb in ["ping", "traffic.apply", "config.analyze"] {
            assert!(target.allows_verb(verb), "{verb}");
        }
        for verb in ["config.apply", "mesh.install", "cancel", "trafficking.apply", "traffic"] {
            assert!(!target.allows_verb(verb), "{verb}");
        }
        let nothing = Target { verbs: list(&[]), ..Target::default() };
        assert!(!nothing.allows_verb("ping"));
    }

    #[test]
    fn kinds_match_by_name_and_group() {
        let target =
            Target { kinds: list(&["ConfigMap", "Deployment.apps", "*.networking.istio.io"]), ..Target::default() };
        for (kind, allowed) in [
            (("", "ConfigMap"), true),
            (("", "Secret"), false),
            (("apps", "Deployment"), true),
            (("example.com", "Deployment"), false),
            (("example.com", "ConfigMap"), false),
            (("networking.istio.io", "Gateway"), true),
            (("gateway.networking.istio.io", "Gateway"), false),
        ] {
            assert_eq!(target.allows_write(kind, Some("a"), "a").is_ok(), allowed, "{kind:?}");
        }
    }

    #[test]
    fn namespaces_restrict_namespaced_objects_and_namespaces_themselves() {
        let target = Target { namespaces: list(&["shop", "team-a-*"]), ..Target::default() };
        let write = |namespace, kind, name| target.allows_write(("", kind), namespace, name);
        assert_eq!(write(Some("shop"), "ConfigMap", "a"), Ok(()));
        assert_eq!(write(Some("team-a-web"), "ConfigMap", "a"), Ok(()));
        assert_eq!(write(Some("shop-2"), "ConfigMap", "a"), Err("namespaces"));
        assert_eq!(write(None, "Namespace", "team-a-web"), Ok(()));
        assert_eq!(write(None, "Namespace", "kube-system"), Err("namespaces"));
    }

    #[test]
    fn list_of_namespaces_excludes_cluster_scoped_kinds_that_are_not_listed() {
        let role = ("rbac.authorization.k8s.io", "ClusterRole");
        let mut target = Target { namespaces: list(&["shop"]), ..Target::default() };
        assert_eq!(target.allows_write(role, None, "shop"), Err("kinds"));
        target.kinds = list(&["*.rbac.authorization.k8s.io"]);
        assert_eq!(target.allows_write(role, None, "shop"), Ok(()));
    }

    #[test]
    fn entries_of_another_form_are_malformed() {
        let target = Target {
            verbs: list(&["mesh.*", "ping", "*", "config.watch-analyze"]),
            kinds: list(&["Pod", "*", "*.apps", "Gateway.a.io"]),
            namespaces: list(&["a", "a-*", "*"]),
            ..Target::default()
        };
        assert_eq!(malformed(&target), None);
        for verb in ["", "Mesh", "*.install", "mesh.", "mesh*"] {
            let target = Target { verbs: list(&[verb]), ..Target::default() };
            assert_eq!(malformed(&target), Some(("verbs", verb)));
        }
        for kind in ["", "pods", "Pod.", "deployments.apps", "apps/v1"] {
            let target = Target { kinds: list(&[kind]), ..Target::default() };
            assert_eq!(malformed(&target), Some(("kinds", kind)));
        }
        for namespace in ["", "*-a", "A", "a.b"] {
            let target = Target { namespaces: list(&[namespace]), ..Target::default() };
            assert_eq!(malformed(&target), Some(("namespaces", namespace)));
        }
    }
}
