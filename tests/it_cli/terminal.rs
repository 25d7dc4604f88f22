//! The binary in a pseudo-terminal of 40, 80 and 140 columns: lines fit, and bars and messages do not overwrite each other.
//! What the screen shows is in `snapshots/`.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::pty::{Winsize, openpty};
use regex::Regex;
use sailhand::bus::{Bus, DeadLetter, DeadReason};
use sailhand::event::{EventKind, Outcome};
use sailhand::progress::Step;
use serde_json::Value;
use time::OffsetDateTime;

use crate::bus::{BusEnv, err, problem, started};
use crate::lists::with_card;
use crate::support::eventually::eventually;

const WIDTHS: [u16; 3] = [40, 80, 140];
const SOON: Duration = Duration::from_secs(20);
/// Lines of the screen.
const ROWS: u16 = 60;

/// A process on a terminal of its own.
struct Terminal {
    master: File,
    child: Child,
    screen: Arc<Mutex<vt100::Parser>>,
    reader: std::thread::JoinHandle<()>,
}

impl Terminal {
    /// `columns` is what the process is told; `shown` is the width of the screen that is read, so that a line that is too
    /// long is not wrapped.
    fn start(columns: u16, shown: u16, args: &[&str]) -> Self {
        let size = Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let stdio = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        // The terminal must be the process's own, so that Ctrl-C reaches it.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait", env!("CARGO_BIN_EXE_sailhand")])
            .args(args)
            .env("TERM", "xterm-256color")
            .env("KUBECONFIG", "/no/such/file")
            .env_remove("NO_COLOR")
            .stdin(stdio(&pty.slave))
            .stdout(stdio(&pty.slave))
            .stderr(stdio(&pty.slave))
            .spawn()
            .unwrap();
        drop(pty.slave);
        let master = File::from(pty.master);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(ROWS, shown, 0)));
        let (mut input, output) = (master.try_clone().unwrap(), Arc::clone(&screen));
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The last process that closes the terminal makes reading fail.
            while let Ok(read @ 1..) = input.read(&mut buffer) {
                output.lock().unwrap().process(&buffer[..read]);
            }
        });
        Self { master, child, screen, reader }
    }

    fn text(&self) -> String {
        let screen = self.screen.lock().unwrap();
        screen.screen().contents().trim_end().to_owned()
    }

    fn press(&mut self, key: u8) {
        self.master.write_all(&[key]).unwrap();
    }

    /// Exit code and the last screen.
    fn ended(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        self.reader.join().unwrap();
        let screen = self.screen.lock().unwrap().screen().contents();
        (code, screen.trim_end().to_owned())
    }
}

/// Without times, ports and the spinner.
fn stable(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, name) in [
        (r"\d\d:\d\d:\d\dZ", "[time]"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
        (r"[\u{2801}-\u{28ff}]", "⠋"),
        (r"─ \d+s", "─ [age]"),
        (r" \d+s$", " [age]"),
        (r" \d+s  ", " [age] "),
        (r"in \d+\.\ds", "in [age]"),
        (r"after \d+s", "after [age]"),
    ] {
        text = Regex::new(&format!("(?m){pattern}")).unwrap().replace_all(&text, name).into_owned();
    }
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn output_fits_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.yaml");
    std::fs::write(
        &file,
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: reviews, namespace: shop}\n\
         spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]}\n",
    )
    .unwrap();
    let file = file.display().to_string();
    for columns in WIDTHS {
        for (name, args) in [
            ("verbs", &["verbs"][..]),
            ("explain", &["explain", "SH2001"]),
            ("check", &["check", "nats", "--nats-url", "nats://127.0.0.1:1"]),
            ("error", &["get", "0123", "--nats-url", "nats://127.0.0.1:1"]),
            ("analyze", &["analyze", &file]),
        ] {
            let (_, screen) = Terminal::start(columns, 400, args).ended();
            // Words of more than a line, such as names of files, cannot be wrapped.
            let is_too_long = |line: &&str| {
                let longest = line.split(' ').map(|word| word.chars().count()).max().unwrap_or_default();
                // Examples are quoted as they are.
                let is_example = line.starts_with("    ") && name == "explain";
                line.chars().count() > usize::from(columns) && !is_example && longest + 12 < usize::from(columns)
            };
            assert_eq!(
                screen.lines().filter(is_too_long).collect::<Vec<_>>(),
                Vec::<&str>::new(),
                "{name} at {columns}"
            );
            if name != "analyze" {
                insta::assert_snapshot!(format!("{name}-{columns}"), stable(&screen));
            }
        }
    }
}

fn step(message: &str) -> EventKind {
    EventKind::Progress(Step { phase: "wait".to_owned(), message: message.to_owned(), done: 5, total: 9 })
}

/// Before: the hint that follows Ctrl-C was written into the bar, whose second line overwrote its end.
#[tokio::test]
async fn ctrl_c_leaves_the_whole_hint_on_the_screen() {
    for columns in WIDTHS {
        let test_env = BusEnv::new().await;
        let url = test_env.url();
        let args = ["submit", "ping", "-t", "dev", "--wait", "--source", "/test", "--id", "1", "--nats-url", &url];
        let mut terminal = Terminal::start(columns, columns, &args);
        let (origin, _delivery) = test_env.take().await;
        test_env.publish_event(&origin, 0, &started()).await;
        let message = "Deployment istio-system/istiod: 0 of 1 replicas are available: the container discovery waits";
        test_env.publish_event(&origin, 1, &step(message)).await;
        // The end of the message is drawn last.
        let is_drawn = |text: &str| text.contains("5/9") && text.ends_with("discovery waits");
        eventually("the bar is shown", SOON, async || is_drawn(&terminal.text()).then_some(())).await;
        insta::assert_snapshot!(format!("bar-{columns}"), stable(&terminal.text()));
        terminal.press(3);
        let (code, screen) = terminal.ended();
        assert_eq!(code, Some(130), "{screen}");
        let flat: String = screen.split_whitespace().collect();
        let key = origin.key.to_string();
        for part in [format!("sailhandwatch{key}"), format!("sailhandcancel{key}")] {
            assert!(flat.contains(&part), "{part} at {columns}:\n{screen}");
        }
        let detached = screen.lines().position(|line| line.starts_with("Detached"));
        assert!(detached.is_some(), "not at the start of a line at {columns}:\n{screen}");
        insta::assert_snapshot!(format!("ctrl-c-{columns}"), stable(&screen));
    }
}

#[tokio::test]
async fn a_result_follows_the_bar_that_it_ends() {
    for columns in WIDTHS {
        let test_env = BusEnv::new().await;
        let url = test_env.url();
        let args = ["submit", "ping", "-t", "dev", "--wait", "--source", "/test", "--id", "1", "--nats-url", &url];
        let terminal = Terminal::start(columns, columns, &args);
        let (origin, _delivery) = test_env.take().await;
        test_env.publish_event(&origin, 0, &started()).await;
        test_env.publish_event(&origin, 1, &step("a step")).await;
        eventually("the bar is shown", SOON, async || terminal.text().contains("5/9").then_some(())).await;
        test_env.end(&origin, Outcome::Failed).await;
        let (code, screen) = terminal.ended();
        assert_eq!(code, Some(1), "{screen}");
        assert!(!screen.contains("5/9"), "{screen}");
        insta::assert_snapshot!(format!("result-{columns}"), stable(&screen));
    }
}

/// Before: the note was written into the bar, which went on with a stale message and clock.
#[tokio::test]
async fn lost_connection_is_shown_until_it_is_back() {
    let mut test_env = BusEnv::new().await;
    let url = test_env.url();
    let args = ["submit", "ping", "-t", "dev", "--wait", "--source", "/test", "--id", "1", "--nats-url", &url];
    let terminal = Terminal::start(80, 80, &args);
    let (origin, _delivery) = test_env.take().await;
    test_env.publish_event(&origin, 0, &started()).await;
    test_env.publish_event(&origin, 1, &step("a step")).await;
    let shows = async |what: &str, part: &str| {
        eventually(what, SOON, async || terminal.text().contains(part).then_some(())).await;
    };
    shows("the bar", "5/9").await;
    test_env.server.stop().await;
    let is_drawn = |text: &str| stable(text).ends_with("reconnecting to NATS [age]");
    eventually("the outage", SOON, async || is_drawn(&terminal.text()).then_some(())).await;
    insta::assert_snapshot!("outage-80", stable(&terminal.text()));
    test_env.server.restart().await;
    shows("the end of the outage", "reconnected to NATS after").await;
    test_env.end(&origin, Outcome::Succeeded).await;
    let (code, screen) = terminal.ended();
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains("reconnecting to NATS "), "{screen}");
    assert_eq!(screen.matches("reconnected to NATS").count(), 1, "{screen}");
    insta::assert_snapshot!("outage-ended-80", stable(&screen));
}

/// Reports of real commands, and the lists.
#[tokio::test]
async fn tables_fit_the_terminal() {
    let test_env = BusEnv::new().await;
    let url = test_env.url();
    let reports: serde_json::Map<String, Value> = serde_json::from_str(include_str!("reports.json")).unwrap();
    let mut deliveries = Vec::new();
    for (verb, one) in &reports {
        let params = one["params"].as_object().unwrap().iter();
        let params: Vec<String> = params.map(|(name, value)| format!("{name}={}", value.as_str().unwrap())).collect();
        let mut args = vec!["submit", verb, "-t", "dev", "--source", "/test", "--id", verb];
        args.extend(params.iter().flat_map(|param| ["-p", param]));
        let submitted = test_env.run(&args).await;
        assert!(submitted.status.success(), "{}", err(&submitted));
        let (origin, delivery) = test_env.take().await;
        test_env.report(&origin, one["report"].clone()).await;
        deliveries.push(delivery);
    }
    let problem = problem();
    let letter = DeadLetter {
        delivery: &deliveries[0],
        key: None,
        reason: DeadReason::Exhausted,
        problem: &problem,
        worker: "w",
        time: OffsetDateTime::now_utc(),
        most_bytes: None,
    };
    test_env.bus.dead_letter(&letter).await.unwrap();
    let _card = with_card(&test_env, "dev").await;
    let mut views: Vec<(&str, Vec<&str>)> =
        vec![("list", vec!["list"]), ("targets", vec!["targets"]), ("dlq-list", vec!["dlq", "list"])];
    views.extend(reports.keys().map(|verb| (verb.as_str(), vec!["get", verb, "--source", "/test"])));
    for columns in WIDTHS {
        for (name, args) in &views {
            let args = [args.as_slice(), &["--nats-url", &url]].concat();
            let (code, screen) = Terminal::start(columns, 400, &args).ended();
            assert_eq!(code, Some(0), "{screen}");
            let is_too_long = |line: &&str| {
                let longest = line.split(' ').map(|word| word.chars().count()).max().unwrap_or_default();
                line.chars().count() > usize::from(columns) && longest + 20 < usize::from(columns)
            };
            assert_eq!(screen.lines().find(is_too_long), None, "{name} at {columns}:\n{screen}");
            insta::assert_snapshot!(format!("table-{name}-{columns}"), stable(&screen));
        }
    }
}
