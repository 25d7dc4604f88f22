//! The real Prometheus Operator beside an API server (`tests/tools/build.sh istio`), and what its config reloader does: the
//! configuration that the Operator writes, for a Prometheus that runs outside of the cluster.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::own_control_plane::ControlPlane;
use super::{operator_crds, tools};

/// Ends with the test.
pub struct Operator(Child);

impl Operator {
    /// Installs the CRDs and starts the Operator for all namespaces.
    pub fn start(plane: &ControlPlane) -> Self {
        operator_crds::install_all_by(|arguments| drop(plane.kubectl(arguments)));
        let server = plane.kubectl(&["config", "view", "--output=jsonpath={.clusters[0].cluster.server}"]);
        let file = |name: &str| plane.dir().join("pki").join(name).display().to_string();
        let log = File::create(plane.dir().join("prometheus-operator.log")).unwrap();
        let child = Command::new(tools::program("prometheus-operator", "PROMETHEUS_OPERATOR_BIN"))
            .arg(format!("--apiserver={server}"))
            .arg(format!("--ca-file={}", file("ca.crt")))
            .arg(format!("--cert-file={}", file("admin.crt")))
            .arg(format!("--key-file={}", file("admin.key")))
            .arg("--web.listen-address=127.0.0.1:0")
            .env_remove("KUBECONFIG")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The configuration that the Operator has written for a Prometheus object; none before it did.
pub fn configuration(plane: &ControlPlane, namespace: &str, name: &str) -> Option<String> {
    let secret = format!("prometheus-{name}");
    let key = "--output=jsonpath={.data.prometheus\\.yaml\\.gz}";
    let data = plane.kubectl(&["get", "secret", &secret, "--namespace", namespace, "--ignore-not-found", key]);
    let compressed = base64::engine::general_purpose::STANDARD.decode(data.trim()).unwrap();
    let mut text = String::new();
    GzDecoder::new(&compressed[..]).read_to_string(&mut text).ok()?;
    (!text.is_empty()).then_some(text)
}

/// The same for a Prometheus that is no pod: discovery by a kubeconfig instead of a service account, and the values of the
/// environment variables that the config reloader substitutes. Addresses 203.0.113.N become N on loopback with this prefix
/// (first three parts), because the API server refuses loopback addresses in Endpoints. The rest is as the Operator wrote it.
pub fn outside(configuration: &str, name: &str, kubeconfig: &Path, loopback: &str) -> Value {
    let text = configuration.replace("$(SHARD)", "0").replace("$(POD_NAME)", &format!("prometheus-{name}-0"));
    let mut configuration: Value = serde_saphyr::from_str(&text).unwrap();
    for job in configuration["scrape_configs"].as_array_mut().into_iter().flatten() {
        for discovery in job["kubernetes_sd_configs"].as_array_mut().into_iter().flatten() {
            discovery["kubeconfig_file"] = json!(kubeconfig);
        }
        let address = json!({"source_labels": ["__address__"], "regex": r"203\.0\.113\.(\d+:\d+)",
            "target_label": "__address__", "replacement": format!("{loopback}.$1")});
        job["relabel_configs"].as_array_mut().unwrap().push(address);
    }
    configuration
}
