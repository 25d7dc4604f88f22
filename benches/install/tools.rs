//! The other two, as people run them, and a cluster without Istio.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::measure::process::{self, Run};
use crate::support::{charts, tools};

/// The charts' version; istioctl brings its own charts, of the nearest version that is there.
pub const VERSION: &str = "1.30.3";

const NAMESPACE: &str = "istio-system";

pub fn istioctl() -> PathBuf {
    tools::program("istioctl", "ISTIOCTL_BIN")
}

pub fn helm() -> PathBuf {
    tools::program("helm", "HELM_BIN")
}

/// On a cluster.
#[derive(Clone, Copy)]
pub struct Tool(pub &'static Path);

impl Tool {
    /// The first time and every other.
    pub fn istioctl(self) -> Run {
        let mut command = Command::new(istioctl());
        command.args(["install", "--skip-confirmation", "--set", "profile=minimal", "--kubeconfig"]).arg(self.0);
        process::run(&command, Path::new("/dev/null"))
    }

    /// Both releases, one after the other as they have to be.
    pub fn helm(self, first: bool) -> Run {
        let release = |name: &str, chart: &str| {
            let mut command = Command::new(helm());
            command.args([if first { "install" } else { "upgrade" }, name]);
            command.arg(charts::folder().join(format!("istio-{VERSION}")).join(chart));
            command.args(["--namespace", NAMESPACE, "--wait", "--kubeconfig"]).arg(self.0);
            command.args(["--set", &format!("global.hub=registry.istio.io/release,global.tag={VERSION}")]);
            command.args(first.then_some("--create-namespace"));
            process::run(&command, Path::new("/dev/null"))
        };
        release("istio-base", "base").then(release("istiod", "istiod"))
    }

    /// Takes out what any of them has made.
    pub fn clean(self) {
        let webhooks = "mutatingwebhookconfigurations,validatingwebhookconfigurations";
        self.kubectl(&["delete", webhooks, "--all"]);
        let roles = self.kubectl(&["get", "clusterroles,clusterrolebindings", "-o", "name"]);
        let roles: Vec<_> = roles.lines().filter(|name| name.contains("istio")).collect();
        if !roles.is_empty() {
            self.kubectl(&[&["delete"], &roles[..]].concat());
        }
        // Nobody has made objects of these kinds. Without this the API server would look for some, which it cannot while
        // it is still taking up a changed definition, and it asks again later and later.
        self.kubectl(&["delete", "customresourcedefinitions", "--all", "--wait=false"]);
        let definitions = self.kubectl(&["get", "customresourcedefinitions", "-o", "name"]);
        for name in definitions.lines() {
            let release = r#"{"metadata": {"finalizers": null}}"#;
            self.run(&["patch", name, "--type", "merge", "--patch", release]).unwrap_or_else(|complaint| {
                assert!(complaint.contains("NotFound"), "{name}: {complaint}");
                String::new()
            });
        }
        let left = self.kubectl(&["get", "customresourcedefinitions", "-o", "name"]);
        assert_eq!(left, "", "definitions that stay");
        self.kubectl(&["delete", "namespace", NAMESPACE, "bench-inventory", "--ignore-not-found"]);
    }

    fn kubectl(self, arguments: &[&str]) -> String {
        self.run(arguments).unwrap_or_else(|complaint| panic!("{arguments:?}: {complaint}"))
    }

    /// Its output, or its complaint.
    fn run(self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(tools::program("kubectl", "KUBECTL_BIN"));
        let output = command.arg("--kubeconfig").arg(self.0).args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}
