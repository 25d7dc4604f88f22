//! The CRDs of the Gateway API. Needs go, which names the folder of the module that tests/tools/kubernetes-clients pins.

use std::process::Command;

/// The CRDs of the standard channel in one YAML text, as `standard-install.yaml` of a release.
pub fn definitions() -> String {
    let output = Command::new("go")
        .args(["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api"])
        .current_dir("tests/tools/kubernetes-clients")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = String::from_utf8(output.stdout).unwrap();
    let folder = std::path::Path::new(folder.trim()).join("config/crd/standard");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.file_name().unwrap().to_string_lossy().starts_with("gateway.networking"));
    assert!(files.len() >= 4, "{} has {files:?}", folder.display());
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect::<Vec<_>>().join("\n---\n")
}
