//! The cluster and the user of a target. Reads the kubeconfig; sends no request.

use std::path::Path;

use kube::Config;
use kube::config::Kubeconfig;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::config::Target;

/// Name of the context and user of a pod's own credentials.
const IN_CLUSTER: &str = "in-cluster";

/// A cluster as people know it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// The context of the kubeconfig; `in-cluster` for a pod's own credentials.
    pub context: String,
    /// URL of the API server.
    pub server: String,
    /// The user of the kubeconfig, by name; `in-cluster` for a pod's own service account.
    pub user: String,
}

impl Identity {
    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`] when the file cannot be read or has no such context; the message lists the contexts.
    pub fn of(name: &str, target: &Target) -> Result<Self, Error> {
        let unusable =
            |source: Box<dyn std::error::Error + Send + Sync>| Error::Kubeconfig { target: name.to_owned(), source };
        let Some(file) = &target.kubeconfig else {
            let config = Config::incluster().map_err(|error| unusable(error.into()))?;
            let (context, user) = (IN_CLUSTER.to_owned(), IN_CLUSTER.to_owned());
            return Ok(Self { context, server: without_credentials(&config.cluster_url.to_string()), user });
        };
        let kubeconfig = Kubeconfig::read_from(file).map_err(|error| unusable(error.into()))?;
        Self::in_file(&kubeconfig, target.context.as_deref(), file).map_err(|reason| unusable(reason.into()))
    }

    fn in_file(kubeconfig: &Kubeconfig, context: Option<&str>, file: &Path) -> Result<Self, String> {
        let names: Vec<_> = kubeconfig.contexts.iter().map(|it| it.name.as_str()).collect();
        let known = if names.is_empty() { "it has none".to_owned() } else { format!("contexts: {}", names.join(", ")) };
        let Some(name) = context.or(kubeconfig.current_context.as_deref()).filter(|it| !it.is_empty()) else {
            return Err(format!("{} has no current context; {known}", file.display()));
        };
        let found = kubeconfig.contexts.iter().find(|it| it.name == name).and_then(|it| it.context.as_ref());
        let Some(found) = found else { return Err(format!("context {name} is not in {}; {known}", file.display())) };
        let cluster = kubeconfig.clusters.iter().find(|it| it.name == found.cluster);
        let server = cluster.and_then(|it| it.cluster.as_ref()?.server.clone());
        let Some(server) = server else {
            return Err(format!("cluster {} of context {name} has no server in {}", found.cluster, file.display()));
        };
        let user = found.user.clone().unwrap_or_default();
        Ok(Self { context: name.to_owned(), server: without_credentials(&server), user })
    }

    /// Whether the API server runs on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let host = self.server.split_once("://").map_or(self.server.as_str(), |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or_default();
        let host = match host.strip_prefix('[') {
            Some(address) => address.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(host, _)| host),
        };
        let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        is_loopback || ["localhost", "kubernetes.docker.internal", "host.docker.internal"].contains(&host)
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "context {} ({}", self.context, self.server)?;
        if !self.user.is_empty() {
            write!(f, ", user {}", self.user)?;
        }
        f.write_str(")")
    }
}

/// A URL as it may be shown: some kubeconfigs have a password in it.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}").trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(server: &str) -> Kubeconfig {
        let text = format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: c, user: u}}}}, {{name: b, context: {{cluster: x, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: '{server}'}}}}]\nusers: []\n"
        );
        Kubeconfig::from_yaml(&text).unwrap()
    }

    #[test]
    fn context_server_and_user_are_read() {
        let found = Identity::in_file(&kubeconfig("https://me:secret@10.0.0.1:6443/"), None, Path::new("f")).unwrap();
        assert_eq!(found.to_string(), "context a (https://10.0.0.1:6443, user u)");
    }

    #[test]
    fn a_missing_context_lists_the_contexts() {
        let of = |context| Identity::in_file(&kubeconfig("https://a"), Some(context), Path::new("f")).unwrap_err();
        assert_eq!(of("nosuch"), "context nosuch is not in f; contexts: a, b");
        assert_eq!(of("b"), "cluster x of context b has no server in f");
    }

    #[test]
    fn loopback_servers_are_local() {
        for (server, local) in [
            ("https://127.0.0.1:6443", true),
            ("https://localhost:1", true),
            ("https://[::1]:6443", true),
            ("https://10.0.0.1:6443", false),
            ("https://127.0.0.1.example.com", false),
        ] {
            let identity = Identity { server: server.to_owned(), ..Identity::default() };
            assert_eq!(identity.is_local(), local, "{server}");
        }
    }
}
