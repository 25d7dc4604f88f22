//! Runs docs/getting-started.md as it is written, on a real nats-server and a real API server. Only the port of NATS differs.
//! Steps with a mesh (`sh mesh`) need nodes: their command lines and parameters are checked up to the connection.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::eventually::eventually;
use crate::support::{control_plane, tools};

/// The fenced blocks of the document whose language is `sh`, with the word after it.
fn steps() -> Vec<(String, String)> {
    let text = include_str!("../../docs/getting-started.md");
    let mut steps = Vec::new();
    let mut block: Option<(String, String)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut block) {
            (Some(_), Some(_)) => steps.extend(block.take()),
            (Some(language), None) => block = Some((language.to_owned(), String::new())),
            (None, Some((_, code))) => code.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    let is_shell = |language: &str| language == "sh" || language.starts_with("sh ");
    steps.retain(|(language, _)| is_shell(language));
    steps
}

struct Reader {
    folder: tempfile::TempDir,
    port: u16,
    /// Folders of programs, before those of the environment.
    path: String,
}

impl Reader {
    fn shell(&self, code: &str, url: &str) -> Command {
        let code = format!("export PATH='{}':$PATH\n{code}", self.path);
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", &code])
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.folder.path())
            .env("KUBECONFIG", control_plane::kubeconfig())
            .env("SAILHAND__NATS__URL", url)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, code: &str) -> Output {
        self.shell(code, &format!("nats://127.0.0.1:{}", self.port)).output().unwrap()
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn getting_started_works_as_written() {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let program = Path::new(env!("CARGO_BIN_EXE_sailhand")).parent().unwrap().display().to_string();
    let path = format!("{program}:{}", tools::cache().join("bin").display());
    let reader = Reader { folder: tempfile::tempdir().unwrap(), port, path };
    let steps = steps();
    assert!(steps.len() >= 8, "{steps:?}");
    let mut dev = None;
    let mut output = String::new();
    for (language, code) in &steps {
        match language.as_str() {
            "sh" => {
                let done = reader.run(code);
                assert!(done.status.success(), "{code}\n{}", said(&done));
                output += &said(&done);
            }
            "sh dev" => {
                let (code, url) = (format!("exec {} --port {port}", code.trim()), format!("nats://127.0.0.1:{port}"));
                dev = Some(reader.shell(&code, &url).stderr(Stdio::null()).spawn().unwrap());
                eventually("NATS and a worker are ready", Duration::from_mins(1), async || {
                    reader.run("sailhand check nats workers").status.success().then_some(())
                })
                .await;
            }
            "sh mesh" => {
                // Nothing listens on port 1: a valid command ends with SH2001.
                for line in code.replace("\\\n", " ").lines() {
                    let done = reader.shell(line, "nats://127.0.0.1:1").output().unwrap();
                    assert!(said(&done).contains("error[SH2001]"), "{line}\n{}", said(&done));
                }
            }
            other => panic!("{other}"),
        }
    }
    let mut dev = dev.expect("the document starts sailhand dev");
    assert!(Command::new("kill").args(["-INT", &dev.id().to_string()]).status().unwrap().success());
    assert!(dev.wait().unwrap().success());
    for part in ["did you mean reviews", "it differs", "\"unchanged\"", "exit code 1"] {
        assert!(output.contains(part), "{part} is not in the output:\n{output}");
    }
}
