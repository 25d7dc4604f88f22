//! Input that must not cost more than its length: through the library with all limits, and through the command line.
#![allow(clippy::disallowed_types, reason = "what is tested is the time that reading takes")]

use std::fs;
use std::num::NonZero;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use sailhand::analysis::source::{self, Error, Limits, Reading, Sources};

const HEAD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n";

fn read(text: String, limits: Limits<'_>) -> Reading {
    let mut sources = Sources::default();
    sources.add("bomb.yaml", text);
    source::read_within(&sources, NonZero::<usize>::MIN, limits)
}

fn is_limited(reading: &Reading) -> bool {
    reading.errors.iter().any(|error| matches!(error, Error::Limit { .. }))
}

#[test]
fn documents_share_one_budget_for_copies() {
    let items = "1,".repeat(1_000);
    let document = format!("{HEAD}x: &a [{items}]\ny: &b [{}]\nz: [{}]\n---\n", "*a,".repeat(50), "*b,".repeat(10));
    let started = Instant::now();
    let reading = read(document.repeat(1_000), Limits::default());
    assert!(is_limited(&reading));
    // 64 MiB at most, of which each document takes about 13.
    assert!(reading.resources.len() < 10, "{} documents were unfolded", reading.resources.len());
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
}

#[test]
fn text_longer_than_the_callers_limit_is_refused() {
    let limits = Limits { text_bytes: Some(1 << 20), cancelled: None };
    assert!(is_limited(&read("#".repeat((1 << 20) + 1), limits)));
}

#[test]
fn cancelled_reading_reads_no_document() {
    let flag = AtomicBool::new(true);
    let reading = read(HEAD.to_owned(), Limits { text_bytes: None, cancelled: Some(&flag) });
    assert!(reading.resources.is_empty());
}

#[test]
fn unreadable_documents_are_counted_and_dropped() {
    let reading = read("a: [\n---\n".repeat(100_000), Limits::default());
    assert!(reading.errors.len() < 1_100, "{}", reading.errors.len());
}

#[cfg(unix)]
#[test]
fn pipes_devices_and_loops_do_not_hang() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("pod.yaml"), HEAD).unwrap();
    assert!(Command::new("mkfifo").arg(path("pipe.yaml")).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", path("zero.yaml")).unwrap();
    std::os::unix::fs::symlink(folder.path(), path("loop")).unwrap();
    std::os::unix::fs::symlink("self.yaml", path("self.yaml")).unwrap();
    let analyze = |argument: &std::path::Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sailhand"));
        let output = command.arg("analyze").arg(argument).stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap()
    };
    assert!(analyze(folder.path()).contains("in 1 object from 1 file"), "{}", analyze(folder.path()));
    for name in ["pipe.yaml", "zero.yaml"] {
        assert!(analyze(&path(name)).contains("no regular file"), "{name}: {}", analyze(&path(name)));
    }
}
