//! The binary without a bus: help, exit codes, configuration errors, local checks.

use std::fs;
use std::process::{Command, Output};

fn sailhand(args: &[&str], env: &[(&str, &str)]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_sailhand"))
        .args(args)
        .env("HOME", home.path())
        .env_remove("XDG_CONFIG_HOME")
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn help_lists_commands_examples_and_exit_codes() {
    let help = sailhand(&["--help"], &[]);
    assert!(help.status.success());
    for part in ["submit", "watch", "topology", "dlq", "Exit codes:", "3  rejected", "SAILHAND__NATS__URL"] {
        assert!(out(&help).contains(part), "{part}");
    }
    assert!(out(&sailhand(&["submit", "--help"], &[])).contains("Examples:"));
    assert!(!out(&help).contains('\u{1b}'), "colours are for terminals");
}

#[test]
fn usage_errors_exit_with_2() {
    for args in [&["nosuch"][..], &["submit", "ping"], &["get"], &["submit", "ping", "-t", "dev", "--expires", "soon"]]
    {
        let output = sailhand(args, &[]);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(err(&output).ends_with("\n  more: sailhand explain SH5002\n"), "{}", err(&output));
    }
    // No date is so far away.
    for args in [
        &["submit", "ping", "-t", "dev", "--expires", "10000y"][..],
        &["watch", "--since", "10000y"],
        &["dlq", "list", "--since", "100000y"],
        &["pause", "dev", "--reason", "two\nlines"],
        &["pause", "dev", "--reason", &"long".repeat(200)],
    ] {
        let output = sailhand(args, &[]);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", err(&output));
    }
    let bad = sailhand(&["submit", "ping", "-t", "Not A Label"], &[]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(err(&bad).starts_with("error[SH5002]: --target Not A Label: "), "{}", err(&bad));
    assert!(err(&bad).contains("help: "), "{}", err(&bad));
}

#[test]
fn invalid_parameters_are_not_sent() {
    let nowhere = [("SAILHAND__NATS__URL", "nats://127.0.0.1:1")];
    for (args, code) in [
        (&["submit", "no.such", "-t", "dev"][..], "SH1003"),
        (&["submit", "ping", "-t", "dev", "-p", "nosuch=1"], "SH1005"),
        (&["submit", "ping", "-t", "dev", "-p", "echo.deep=1"], "SH1005"),
        (&["submit", "ping", "-t", "dev", "--source", "has space"], "SH1002"),
        (&["submit", "ping", "-t", "dev", "--id", ""], "SH1002"),
    ] {
        let output = sailhand(args, &nowhere);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {}", err(&output));
        assert!(err(&output).starts_with(&format!("error[{code}]: not sent: ")), "{args:?}: {}", err(&output));
    }
}

#[test]
fn an_unreachable_bus_is_named_with_cause_and_remedy() {
    let output = sailhand(&["get", "0123", "--nats-url", "nats://127.0.0.1:1"], &[]);
    assert_eq!(output.status.code(), Some(6));
    let text = err(&output);
    assert!(text.starts_with("error[SH2001]: cannot connect to NATS at nats://127.0.0.1:1\n"), "{text}");
    assert!(text.contains("because: ") && text.contains("refused") && text.contains("help: "), "{text}");
}

#[test]
fn configuration_layers_override_each_other_and_check_names_the_layer() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    let text = "[nats]\nurl = ['nats://file:4222']\n[worker]\nslots = 3\ngrace = '9s'\n[targets.east]\ncontext = 'e'\n";
    fs::write(&file, text).unwrap();
    let path = file.display().to_string();
    let args = ["worker", "--check", "--config", &path, "--slots", "5"];
    let output =
        sailhand(&args, &[("SAILHAND__NATS__URL", "nats://a:1,nats://b:2"), ("SAILHAND__WORKER__GRACE", "8s")]);
    assert!(output.status.success(), "{}", err(&output));
    let text = out(&output);
    for line in [
        "nats.url = [\"nats://a:1\",\"nats://b:2\"] # SAILHAND__NATS__URL".to_owned(),
        "worker.grace = \"8s\" # SAILHAND__WORKER__GRACE".to_owned(),
        "worker.slots = 5 # --slots".to_owned(),
        format!("targets.east.context = \"e\" # {path}"),
        "bus.prefix = \"istio\" # default".to_owned(),
        "# nats.creds_file is not set".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    // What is printed is a configuration file.
    fs::write(&file, &text).unwrap();
    let again = out(&sailhand(&["worker", "--check", "--config", &path], &[]));
    let bare = |text: &str| text.lines().map(|line| line.split(" # ").next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(bare(&again), bare(&text));
}

#[test]
fn a_users_file_is_read_when_none_is_named() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("sailhand/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "[worker]\nslots = 7\n").unwrap();
    let output = sailhand(&["worker", "--check"], &[("XDG_CONFIG_HOME", &home.path().display().to_string())]);
    assert!(out(&output).contains("worker.slots = 7 # "), "{}{}", out(&output), err(&output));
}

#[test]
fn configuration_errors_name_key_source_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    let path = file.display().to_string();
    for (text, env, wanted) in [
        ("[nats]\nurll = 'x'\n", None, format!("nats.urll ({path}): unknown key; known here: url, ")),
        ("[targets.Bad_Id]\n", None, format!("targets.Bad_Id ({path}): a target's id must be a DNS label")),
        ("[nats\n", None, format!("configuration ({path}): TOML parse error at line 1")),
        ("[worker]\nslots = 'many'\n", None, format!("worker.slots ({path}): string \"many\" is not a whole number")),
        ("[bus]\nlease_ttl = '3s'\n", None, format!("bus.lease_ttl ({path}): must be at least 10s")),
        (
            "[health]\nlisten = 'nowhere'\n",
            None,
            format!("health.listen ({path}): \"nowhere\" is neither address:port"),
        ),
        ("", Some(("SAILHAND__WORKER__SLOT", "3")), "worker.slot (SAILHAND__WORKER__SLOT): unknown key".to_owned()),
        (
            "",
            Some(("SAILHAND__NATS__URL", "nats://me:secret@h")),
            "nats.url (SAILHAND__NATS__URL): must not hold".to_owned(),
        ),
        (
            "",
            Some(("SAILHAND__NATS__USER", "me")),
            "nats.user (SAILHAND__NATS__USER): needs nats.password_file".to_owned(),
        ),
    ] {
        fs::write(&file, text).unwrap();
        let output = sailhand(&["worker", "--check", "--config", &path], env.as_slice());
        assert_eq!(output.status.code(), Some(2), "{wanted}");
        let found = err(&output);
        assert!(found.contains(&format!("error[SH5001]: {wanted}")), "wanted {wanted}, found {found}");
        assert!(!found.contains("secret"), "{found}");
    }
    let missing = sailhand(&["worker", "--check", "--config", "/no/such/file"], &[]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(err(&missing).contains("cannot read the configuration file /no/such/file"), "{}", err(&missing));
}

#[test]
fn completions_and_verbs_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let output = sailhand(&["completions", shell], &[]);
        assert!(output.status.success() && out(&output).contains("COMPLETE"), "{shell}");
    }
    let offered = |words: &[&str]| {
        let args = [&["--", "sailhand"], words].concat();
        let index = (words.len()).to_string();
        let url = "nats://127.0.0.1:1";
        let env =
            [("COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", &index), ("_CLAP_IFS", "\n"), ("SAILHAND__NATS__URL", url)];
        out(&sailhand(&args, &env))
    };
    for (words, wanted) in [
        (&["submit", "mesh.ins"][..], "mesh.install"),
        (&["submit", "mesh.install", "-p", "prof"], "profile=minimal"),
        (&["explain", "SH300"], "SH3006"),
        (&["submit", "ping", "-o", "y"], "yaml"),
    ] {
        assert!(offered(words).contains(wanted), "{words:?}: {}", offered(words));
    }
    assert!(!offered(&[""]).contains("crd-schemas"));
    let verbs = out(&sailhand(&["verbs"], &[]));
    for verb in ["config.apply", "config.delete", "namespace.label", "ping", "sample.deploy", "sample.remove"] {
        assert!(verbs.contains(verb), "{verb}");
    }
    let page = out(&sailhand(&["verbs", "mesh.upgrade"], &[]));
    assert!(page.contains("version text required") && page.contains("sailhand submit mesh.upgrade"), "{page}");
    let page: serde_json::Value = serde_json::from_str(&out(&sailhand(&["verbs", "ping", "-o", "json"], &[]))).unwrap();
    assert!(page["schema"]["properties"]["echo"].is_object(), "{page}");
    assert_eq!(sailhand(&["verbs", "nosuch"], &[]).status.code(), Some(2));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let command = format!("{} completions bash | head -1", env!("CARGO_BIN_EXE_sailhand"));
    let script = format!("set -o pipefail; {command}");
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    assert_eq!(err(&output), "");
}

#[test]
fn dev_names_missing_programs() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nats-server").display().to_string();
    let output = sailhand(&["dev", "--port", "1", "--nats-server", &nowhere], &[]);
    assert_eq!(output.status.code(), Some(6), "{}", err(&output));
    assert!(err(&output).contains("--nats-server names it"), "{}", err(&output));
}

/// Before: the command was sent, a worker rejected it, and each typing error became a dead letter.
#[test]
fn parameters_that_a_task_rejects_are_not_sent() {
    let weights = ["rules[0].destinations[0].weight=80", "rules[0].destinations[1].weight=30"];
    let subsets = ["rules[0].destinations[0].subset=v1", "rules[0].destinations[1].subset=v2"];
    let mut args = vec!["submit", "traffic.apply", "-t", "dev", "-p", "namespace=shop", "-p", "service=reviews"];
    args.extend(weights.iter().chain(&subsets).flat_map(|param| ["-p", param]));
    let output = sailhand(&args, &[("SAILHAND__NATS__URL", "nats://127.0.0.1:1")]);
    assert_eq!(output.status.code(), Some(3), "{}", err(&output));
    assert!(err(&output).contains("not sent: parameter rules: rule 1: the weights"), "{}", err(&output));
    assert!(err(&output).contains("sailhand verbs traffic.apply"), "{}", err(&output));
}

#[test]
fn analyze_names_the_reason_why_it_cannot_read_a_cluster_or_a_code() {
    let missing = sailhand(&["analyze", "-A"], &[("KUBECONFIG", "/no/such/file")]);
    assert_eq!(missing.status.code(), Some(2), "{}", err(&missing));
    assert!(err(&missing).contains("kubeconfig /no/such/file: does not exist; set KUBECONFIG"), "{}", err(&missing));
    // Before: "unknown code; did you mean SH7001?"
    let error = sailhand(&["analyze", "--explain", "sh3001"], &[]);
    assert!(err(&error).contains("see `sailhand explain SH3001`"), "{}", err(&error));
    let log = sailhand(&["analyze", "-", "-o", "log", "--allow-empty"], &[]);
    assert!(log.status.success(), "istioctl's name of the format text: {}", err(&log));
}

/// Before: "invalid digit found in string", and a remedy that named no subcommand.
#[test]
fn invalid_arguments_say_what_is_expected_and_whose_help_to_read() {
    for (args, wanted) in [
        (&["dlq", "show", "x"][..], "must be a whole number such as 12"),
        (&["dlq", "list", "--limit", "many"], "must be a whole number such as 12"),
        (&["dev", "--port", "99999"], "out of range"),
    ] {
        let error = err(&sailhand(args, &[]));
        assert!(error.contains(wanted), "{args:?}: {error}");
    }
    let error = err(&sailhand(&["submit", "ping", "-t", "DEV"], &[]));
    assert!(error.contains("help: See `sailhand submit --help`."), "{error}");
    let error = err(&sailhand(&["bridge", "match", "-t", "DEV"], &[]));
    assert!(error.contains("help: See `sailhand bridge match --help`."), "{error}");
    let error = err(&sailhand(&["explain", "SH9999"], &[]));
    assert!(error.contains("`sailhand analyze --list-rules` lists the rules"), "{error}");
}

#[test]
fn verb_in_the_place_of_a_subcommand_gets_a_hint() {
    let output = sailhand(&["mesh.status"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("sailhand submit mesh.status --target TARGET --wait"), "{}", err(&output));
    // Before: "a similar subcommand exists: 'installations'".
    for (word, verb) in [("install", "mesh.install"), ("upgrade", "mesh.upgrade"), ("deploy", "sample.deploy")] {
        let error = err(&sailhand(&[word], &[]));
        assert!(error.contains(&format!("{verb} is a verb:\n    sailhand submit {verb} --target")), "{error}");
    }
}
