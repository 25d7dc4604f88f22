//! Renders by the helm program, and only by its `template`: without a cluster, without credentials, without the
//! environment, in a folder of its own, bounded in time and output.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::{Chart, Error, Release, Renderer};
use crate::config;

/// Largest output. The largest chart has less than one MiB.
const MAX_OUTPUT: u64 = 16 << 20;
/// Largest error output that is repeated.
const MAX_COMPLAINT: u64 = 16 << 10;

/// The helm program.
pub(super) struct Helm {
    configured: PathBuf,
    program: Option<PathBuf>,
    within: Duration,
}

impl Helm {
    pub fn new(program: &Path, within: Duration) -> Self {
        Self { configured: program.to_owned(), program: config::find_program(program), within }
    }
}

#[async_trait]
impl Renderer for Helm {
    async fn render(&self, chart: &Chart, release: &Release) -> Result<String, Error> {
        let cannot = |reason: String| Error::Helm { reason };
        let Some(program) = &self.program else {
            let reason = format!("{} is not found; name the program by charts.helm", self.configured.display());
            return Err(cannot(reason));
        };
        let folder = Folder::new().map_err(|error| cannot(format!("no folder to work in: {error}")))?;
        folder.fill(chart, release).map_err(|error| cannot(format!("{}: {error}", folder.0.display())))?;
        let mut command = Command::new(program);
        command
            .args(["template", &release.name, "chart", "--values", "values.json", "--include-crds", "--no-hooks"])
            .args(["--namespace", &release.namespace, "--kube-version", &release.kubernetes])
            .args(release.skip_schema.then_some("--skip-schema-validation"))
            .env_clear()
            .env("HOME", &folder.0)
            .current_dir(&folder.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| cannot(format!("{}: {error}", program.display())))?;
        let (out, complaint) = (child.stdout.take(), child.stderr.take());
        let work = async {
            let (out, complaint) = tokio::join!(bounded(out, MAX_OUTPUT), bounded(complaint, MAX_COMPLAINT));
            Ok::<_, std::io::Error>((out?, complaint?, child.wait().await?))
        };
        let named = || format!("{}-{}", chart.name, chart.version);
        let (out, complaint, status) = match tokio::time::timeout(self.within, work).await {
            Err(_) => return Err(Error::Slow { chart: named(), after: self.within }),
            Ok(Err(error)) => return Err(cannot(error.to_string())),
            Ok(Ok(done)) => done,
        };
        if out.len() as u64 > MAX_OUTPUT {
            let reason = format!("it makes more than {} MiB of it", MAX_OUTPUT >> 20);
            return Err(Error::Refused { chart: named(), reason });
        }
        if !status.success() {
            let text = String::from_utf8_lossy(&complaint);
            // Users of sailhand cannot pass flags to helm.
            let text = text.trim().trim_end_matches("Use --debug flag to render out invalid YAML");
            let reason = match text.trim().trim_start_matches("Error: ") {
                "" => format!("it ended with {status}"),
                said => said.to_owned(),
            };
            return Err(Error::Refused { chart: named(), reason });
        }
        String::from_utf8(out).map_err(|error| Error::Refused { chart: named(), reason: error.to_string() })
    }

    /// Another program has another size or age.
    fn identity(&self) -> String {
        let about = self.program.as_ref().and_then(|program| fs::metadata(program).ok());
        let about = about.map(|about| (about.len(), about.modified().ok()));
        format!("helm {:?} {about:?}", self.program)
    }
}

/// Reads at most one byte more than `most`, and lets the rest go by, so that the program can end.
async fn bounded(from: Option<impl AsyncRead + Unpin>, most: u64) -> std::io::Result<Vec<u8>> {
    let Some(mut from) = from else { return Ok(Vec::new()) };
    let mut read = Vec::new();
    (&mut from).take(most + 1).read_to_end(&mut read).await?;
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(read)
}

/// A folder that only this user can enter, removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("sailhand-chart-{}", uuid::Uuid::new_v4().simple()));
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        Ok(Self(path))
    }

    /// The chart's paths were checked when it was read.
    fn fill(&self, chart: &Chart, release: &Release) -> std::io::Result<()> {
        for (path, content) in &chart.files {
            let path = self.0.join("chart").join(path);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(path, content)?;
        }
        fs::write(self.0.join("values.json"), release.values.to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!("{} is left: {error}", self.0.display());
        }
    }
}
