//! Renders the Helm charts of folders with their default values, by `helm template`: bounded in time and output.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sailhand_analysis::source::{PassedOver, Sources};

use crate::output::{self, CHANGED, styled};

/// Longest time for one chart.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum number of charts that are rendered.
const MOST_CHARTS: usize = 100;
/// Longest output of one chart, bytes.
const MOST_OUTPUT: u64 = 32 << 20;

/// Output of each chart, none if it cannot be rendered. `--fix` and `--diff` read the files repeatedly before they write
/// them, and helm would render the same each time.
pub(crate) type Charts = HashMap<PathBuf, Option<String>>;

/// Adds the rendered charts to the sources instead of their templates, from `known` if they are there. A note says why a
/// chart cannot be rendered.
pub(crate) fn render(sources: &mut Sources, known: &mut Charts) {
    let charts: Vec<PathBuf> = sources.passed_over().iter().filter_map(chart).collect();
    let mut rendered: Vec<PathBuf> = Vec::new();
    for chart in charts.into_iter().take(MOST_CHARTS) {
        // A chart renders those below it.
        if rendered.iter().any(|above| chart.starts_with(above)) {
            continue;
        }
        let text = known.entry(chart.clone()).or_insert_with(|| {
            let note = |why: &String| {
                output::note(format_args!("{} {}: {why}", styled(CHANGED, "not rendered:"), chart.display()));
            };
            output_of("helm", &chart, TIMEOUT).inspect_err(note).ok()
        });
        if let Some(text) = text {
            sources.add_rendered(&chart, text.clone());
            rendered.push(chart);
        }
    }
}

fn chart(one: &PassedOver) -> Option<PathBuf> {
    match one {
        PassedOver::Templates { chart, .. } => Some(chart.clone()),
        PassedOver::NotApplied { .. } => None,
    }
}

/// Standard output of `helm template`.
fn output_of(program: &str, chart: &Path, timeout: Duration) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(["template", "release"]).arg(chart).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot start {program}: {error}"))?;
    let (Some(out), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(format!("{program} has no output"));
    };
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Both at once: helm waits while one of them is full.
        let errors = thread::spawn(move || limited(errors));
        let text = limited(out);
        // The receiver has gone after the timeout.
        let _ = sender.send((text, errors.join().ok().and_then(Result::ok).unwrap_or_default()));
    });
    let Ok((text, errors)) = receiver.recv_timeout(timeout) else {
        // A process that has ended meanwhile cannot be killed.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("{program} did not end within {} seconds", timeout.as_secs()));
    };
    if text.as_ref().is_ok_and(|text| text.len() as u64 > MOST_OUTPUT) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("{program} printed more than {} MiB", MOST_OUTPUT >> 20));
    }
    let status = child.wait().map_err(|error| format!("cannot wait for {program}: {error}"))?;
    let text = text.map_err(|error| format!("cannot read the output of {program}: {error}"))?;
    if status.success() { Ok(text) } else { Err(format!("{program} failed: {}", last_line(&errors))) }
}

/// At most one byte more than [`MOST_OUTPUT`]. Then the pipe is closed, which ends a program that writes more.
fn limited(from: impl Read) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    from.take(MOST_OUTPUT + 1).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn last_line(text: &str) -> &str {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn output(script: &str, timeout: Duration) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("helm");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let text = output_of(program.to_str().unwrap(), Path::new("chart"), timeout);
        text.map_err(|error| error.replace(program.to_str().unwrap(), "helm"))
    }

    /// Before: helm waited for a full pipe of errors, or of output beyond the limit, until the time was over.
    #[test]
    fn long_output_is_read_and_too_long_output_is_an_error() {
        let long = Duration::from_mins(1);
        let warnings = output("yes warning | head -c 1000000 >&2; echo text", long);
        assert_eq!(warnings.as_deref(), Ok("text\n"));
        assert_eq!(output("yes | head -c 40000000", long).unwrap_err(), "helm printed more than 32 MiB");
        let endless = output("exec yes", long);
        assert_eq!(endless.unwrap_err(), "helm printed more than 32 MiB");
    }

    #[test]
    fn helm_has_limits_of_time_and_reports_its_error() {
        let long = Duration::from_mins(1);
        assert_eq!(output("echo \"$@\"", long).as_deref(), Ok("template release chart\n"));
        let failed = output("echo 'Error: no values' >&2; exit 1", long);
        assert_eq!(failed.unwrap_err(), "helm failed: Error: no values");
        let late = output("exec sleep 60", Duration::from_secs(1));
        assert_eq!(late.unwrap_err(), "helm did not end within 1 seconds");
        let missing = output_of("/does/not/exist", Path::new("chart"), long);
        assert!(missing.unwrap_err().starts_with("cannot start"));
    }
}
