//! Programs that are configured with a metrics store or a Grafana: Kiali, Flagger, Argo Rollouts, KEDA and Grafana's data
//! sources. Their configuration shows which server is in use, also outside the cluster.

use std::fmt;

use serde_json::Value;

use super::instance::InstanceKind;

/// An address with the program that is configured with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// The server at the address.
    pub kind: InstanceKind,
    /// The address.
    pub url: Url,
    /// Such as `Kiali istio-system/kiali`.
    pub program: String,
}

/// Scheme, host, port and path of an http or https URL. User information, query and fragment are left out: they may
/// hold secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether the scheme is https.
    pub tls: bool,
    /// Host name or address.
    pub host: String,
    /// Port; the scheme's own when the URL has none.
    pub port: u16,
    /// Path, beginning with `/`.
    pub path: String,
}

impl Url {
    /// Reads a URL; none when it is not http(s) or has no usable host. A host without scheme is read as http.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > 2048 {
            return None;
        }
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return None,
            None => (false, text),
        };
        let rest = rest.split(['?', '#']).next()?;
        let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
        let authority = authority.rsplit('@').next()?;
        let default = if tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, default),
        };
        let host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
        let fits = !host.is_empty() && host.len() <= 253 && host.bytes().all(host_byte);
        fits.then(|| Self {
            tls,
            host: host.to_ascii_lowercase(),
            port,
            path: format!("/{}", path.trim_end_matches('/')),
        })
    }

    /// Namespace, Service and port when the host is a Service's name: `service.namespace`, with or without `.svc` and
    /// the cluster's domain.
    #[must_use]
    pub fn in_cluster(&self) -> Option<(String, String, u16)> {
        let mut parts = self.host.split('.');
        let (service, namespace) = (parts.next()?, parts.next()?);
        let rest = parts.next();
        let is_service = match rest {
            None => true,
            Some(next) => next == "svc",
        };
        let numeric = self.host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        (is_service && !numeric).then(|| (namespace.to_owned(), service.to_owned(), self.port))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)?;
        if self.path == "/" { Ok(()) } else { f.write_str(&self.path) }
    }
}

/// All addresses that one object names.
#[must_use]
pub fn read(object: &Value) -> Vec<Witness> {
    let place = format!(
        "{}/{}",
        object["metadata"]["namespace"].as_str().unwrap_or_default(),
        object["metadata"]["name"].as_str().unwrap_or_default()
    );
    let mut found = Vec::new();
    let mut see = |kind: InstanceKind, program: &str, url: Option<&str>| {
        if let Some(url) = url.and_then(Url::parse) {
            found.push(Witness { kind, url, program: format!("{program} {place}") });
        }
    };
    match object["kind"].as_str().unwrap_or_default() {
        "ConfigMap" => config_map(object, &mut see),
        "Kiali" => kiali(&object["spec"], &mut see),
        "Deployment" => {
            for container in object["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten() {
                for argument in container["args"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    let url = argument.trim_start_matches('-').strip_prefix("metrics-server=");
                    see(InstanceKind::Prometheus, "Flagger", url);
                    let url = argument.trim_start_matches('-').strip_prefix("prometheus-url=");
                    see(InstanceKind::Prometheus, "Prometheus Adapter", url);
                }
            }
        }
        "MetricTemplate" if object["spec"]["provider"]["type"] == "prometheus" => {
            see(InstanceKind::Prometheus, "Flagger MetricTemplate", object["spec"]["provider"]["address"].as_str());
        }
        kind @ ("AnalysisTemplate" | "ClusterAnalysisTemplate") => {
            for metric in object["spec"]["metrics"].as_array().into_iter().flatten() {
                let address = metric["provider"]["prometheus"]["address"].as_str();
                see(InstanceKind::Prometheus, &format!("Argo Rollouts {kind}"), address);
            }
        }
        "ScaledObject" => {
            for trigger in object["spec"]["triggers"].as_array().into_iter().flatten() {
                if trigger["type"] == "prometheus" {
                    let address = trigger["metadata"]["serverAddress"].as_str();
                    see(InstanceKind::Prometheus, "KEDA ScaledObject", address);
                }
            }
        }
        "GrafanaDatasource" if object["spec"]["datasource"]["type"] == "prometheus" => {
            see(InstanceKind::Prometheus, "GrafanaDatasource", object["spec"]["datasource"]["url"].as_str());
        }
        "Grafana" => see(InstanceKind::Grafana, "Grafana Operator", object["spec"]["external"]["url"].as_str()),
        _ => {}
    }
    found
}

type See<'a> = &'a mut dyn FnMut(InstanceKind, &str, Option<&str>);

/// Largest configuration text that is read, bytes.
const MAX_TEXT: usize = 256 << 10;

fn config_map(object: &Value, see: See<'_>) {
    for text in object["data"].as_object().into_iter().flatten().filter_map(|(_, text)| text.as_str()) {
        if text.len() > MAX_TEXT {
            continue;
        }
        let Ok(value) = serde_saphyr::from_str::<Value>(text) else { continue };
        if value["external_services"].is_object() {
            kiali(&value, see);
        }
        for source in value["datasources"].as_array().into_iter().flatten() {
            if source["type"] == "prometheus" {
                see(InstanceKind::Prometheus, "Grafana data source", source["url"].as_str());
            }
        }
    }
}

/// Kiali's configuration, in its ConfigMap or its custom resource; old field names are still read by Kiali.
fn kiali(configuration: &Value, see: See<'_>) {
    let services = &configuration["external_services"];
    see(InstanceKind::Prometheus, "Kiali", services["prometheus"]["url"].as_str());
    let grafana = &services["grafana"];
    for field in ["internal_url", "in_cluster_url", "external_url", "url"] {
        see(InstanceKind::Grafana, "Kiali", grafana[field].as_str().filter(|url| !url.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_in_urls_are_removed() {
        let url = Url::parse("https://user:secret@prom.example/p/?token=x#y").unwrap();
        assert_eq!(url.to_string(), "https://prom.example:443/p");
        for text in ["ftp://a", "http://", "http://a:x", "http://a b", "http://a\n"] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }

    #[test]
    fn service_names_are_distinguished_from_external_hosts() {
        let place = |text: &str| Url::parse(text).unwrap().in_cluster();
        let service = |port| Some(("monitoring".to_owned(), "prom".to_owned(), port));
        assert_eq!(place("http://prom.monitoring:9090"), service(9090));
        assert_eq!(place("http://prom.monitoring.svc"), service(80));
        assert_eq!(place("https://prom.monitoring.svc.cluster.local/x"), service(443));
        for outside in ["http://prom.example.com", "http://10.0.0.1:9090", "http://localhost:9090"] {
            assert_eq!(place(outside), None, "{outside}");
        }
    }

    #[test]
    fn kiali_and_grafana_configurations_are_read() {
        let map = json!({"kind": "ConfigMap", "metadata": {"name": "kiali", "namespace": "istio-system"}, "data": {
            "config.yaml": "external_services:\n  prometheus:\n    url: http://prom.monitoring:9090\n  grafana:\n    external_url: https://grafana.example\n",
            "broken": ": : :\n\t",
        }});
        let found = read(&map);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].program, "Kiali istio-system/kiali");
        let sources = json!({"kind": "ConfigMap", "metadata": {"name": "d", "namespace": "m"}, "data": {
            "d.yaml": "datasources:\n- type: prometheus\n  url: http://a.b:1\n- type: loki\n  url: http://c.d:2\n"}});
        assert_eq!(read(&sources).len(), 1);
    }
}
