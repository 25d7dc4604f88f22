//! Helm charts: sources, rendering, and caches of both. Uses no cluster, no task and no bus.

mod archive;
mod cache;
mod directory;
mod error;
mod helm;
mod http;
mod keys;
mod registry;
mod repository;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::config;
use crate::hex::hex;
use cache::Cache;
use helm::Helm;
use source::Source;

pub use error::Error;

/// One chart, read and checked.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Such as `istiod`.
    pub name: String,
    /// Such as `1.30.3`.
    pub version: String,
    /// `sha256:…` of the archive, or of the folder's files.
    pub digest: String,
    /// Its files by path below the chart's folder.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Input of rendering a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    /// Helm's release name.
    pub name: String,
    /// Helm's namespace.
    pub namespace: String,
    /// The values.
    pub values: Value,
    /// Version of the API server, as charts choose API versions by it.
    pub kubernetes: String,
    /// Leave out Helm's check of the values, for charts whose schema is wrong.
    pub skip_schema: bool,
}

/// Makes manifests of charts.
#[async_trait]
pub trait Renderer: Send + Sync {
    /// The manifest, CRDs included, hooks left out.
    ///
    /// # Errors
    /// A chart or values that the renderer refuses, and a renderer that cannot be run or takes too long.
    async fn render(&self, chart: &Chart, release: &Release) -> Result<String, Error>;

    /// Differs when the same chart may be rendered differently.
    fn identity(&self) -> String;
}

/// Charts of one source, as configured.
pub struct Charts {
    source: Source,
    cache: Cache,
    renderer: Box<dyn Renderer>,
    pins: BTreeMap<String, String>,
}

impl Charts {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(settings: &config::Charts) -> Self {
        Self {
            source: Source::new(&settings.source, settings.timeout),
            cache: Cache::new(settings.cache.clone()),
            renderer: Box::new(Helm::new(&settings.helm, settings.timeout)),
            pins: settings.digests.clone(),
        }
    }

    /// A chart in a version.
    ///
    /// # Errors
    /// When it cannot be had, is not what was pinned, or is not safe to unpack.
    pub async fn fetch(&self, name: &str, version: &str) -> Result<Chart, Error> {
        let chart = self.source.fetch(name, version, &self.cache).await?;
        let pinned = self.pins.get(&format!("{name}-{version}"));
        match pinned.filter(|pinned| **pinned != chart.digest) {
            Some(pinned) => {
                Err(Error::Digest { chart: format!("{name}-{version}"), wanted: pinned.clone(), found: chart.digest })
            }
            None => Ok(chart),
        }
    }

    /// The manifest of a chart; rendered once for the same chart, values, Kubernetes and renderer.
    ///
    /// # Errors
    /// When the renderer fails.
    pub async fn render(&self, chart: &Chart, release: &Release) -> Result<Arc<str>, Error> {
        let key = self.key(chart, release);
        if let Some(kept) = self.cache.rendered(&key).await {
            return Ok(kept);
        }
        let manifest: Arc<str> = self.renderer.render(chart, release).await?.into();
        self.cache.keep_rendered(&key, &manifest).await;
        Ok(manifest)
    }

    fn key(&self, chart: &Chart, release: &Release) -> String {
        let all = json!([
            self.renderer.identity(),
            chart.digest,
            chart.version,
            release.name,
            release.namespace,
            release.values,
            release.kubernetes,
            release.skip_schema,
        ]);
        hex(&Sha256::digest(all.to_string()))
    }
}

impl Chart {
    /// A chart of these files. A source chart of Istio says version 1.0.0: it gets the requested version,
    /// as the release's build would do.
    ///
    /// # Errors
    /// When it has no `Chart.yaml`, or is another chart or version.
    fn of(name: &str, version: &str, digest: String, mut files: BTreeMap<String, Vec<u8>>) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Unsafe { chart: format!("{name}-{version}"), reason };
        let about = files.get("Chart.yaml").ok_or_else(|| wrong("it has no Chart.yaml".to_owned()))?;
        let mut about =
            about_chart(about).map_err(|reason| wrong(format!("its Chart.yaml cannot be read: {reason}")))?;
        let field = |key: &str| about.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        if field("name") != name {
            return Err(wrong(format!("its Chart.yaml names the chart {:?}", field("name"))));
        }
        match field("version") {
            same if same == version => {}
            unstamped if unstamped == UNSTAMPED => {
                for key in ["version", "appVersion"] {
                    about.insert(key.to_owned(), version.into());
                }
                // JSON is YAML, so Helm reads it.
                files.insert("Chart.yaml".to_owned(), Value::Object(about).to_string().into_bytes());
            }
            other => return Err(wrong(format!("its Chart.yaml has version {other:?}"))),
        }
        Ok(Self { name: name.to_owned(), version: version.to_owned(), digest, files })
    }
}

/// The fields of a `Chart.yaml`.
fn about_chart(text: &[u8]) -> Result<Map<String, Value>, String> {
    if text.len() > MAX_ABOUT {
        return Err(format!("it has more than {MAX_ABOUT} bytes"));
    }
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    serde_saphyr::from_str(text).map_err(|error| error.to_string().lines().take(1).collect())
}

/// Maximum number of bytes of a `Chart.yaml`.
const MAX_ABOUT: usize = 1 << 16;

/// What Istio's charts say before a release is built of them.
const UNSTAMPED: &str = "1.0.0";

/// Maximum number of files, and bytes of all of them.
const MAX_FILES: usize = 1_000;
const MAX_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn files(about: &str) -> BTreeMap<String, Vec<u8>> {
        BTreeMap::from([("Chart.yaml".to_owned(), about.as_bytes().to_vec())])
    }

    #[test]
    fn chart_of_a_source_tree_gets_its_version_and_another_version_is_refused() {
        let source = files("apiVersion: v2\nname: base\nversion: 1.0.0\nappVersion: 1.0.0\n");
        let chart = Chart::of("base", "1.30.3", String::new(), source).unwrap();
        let about: Value = serde_json::from_slice(&chart.files["Chart.yaml"]).unwrap();
        let stamped = json!({"apiVersion": "v2", "name": "base", "version": "1.30.3", "appVersion": "1.30.3"});
        assert_eq!(about, stamped);

        let released = files("name: base\nversion: 1.29.0\n");
        assert!(Chart::of("base", "1.29.0", String::new(), released.clone()).is_ok());
        assert!(Chart::of("base", "1.30.3", String::new(), released.clone()).is_err());
        assert!(Chart::of("istiod", "1.29.0", String::new(), released).is_err());
        assert!(Chart::of("base", "1.29.0", String::new(), BTreeMap::new()).is_err());
    }

    #[test]
    fn chart_yaml_is_read_as_yaml() {
        for about in [
            "name: 'base'\nversion: '1.29.0'\n",
            "name: base # the definitions\nversion: \"1.29.0\"   # released\n",
            "{name: base, version: 1.29.0}",
            "dependencies:\n- name: other\n  version: 2.0.0\n\"name\": base\n\"version\" : 1.29.0\n",
        ] {
            let chart = Chart::of("base", "1.29.0", String::new(), files(about));
            assert!(chart.is_ok(), "{about}: {chart:?}");
        }
        let dependency = files("{name: base, version: 1.0.0, dependencies: [{name: a, version: 2.0.0}]}");
        let stamped = Chart::of("base", "1.30.3", String::new(), dependency).unwrap();
        let about: Value = serde_json::from_slice(&stamped.files["Chart.yaml"]).unwrap();
        assert_eq!(about["dependencies"][0]["version"], "2.0.0");
        for about in ["name: [base", "- base", "name: base\nname: base\nversion: 1.29.0\n"] {
            assert!(Chart::of("base", "1.29.0", String::new(), files(about)).is_err(), "{about}");
        }
    }
}
