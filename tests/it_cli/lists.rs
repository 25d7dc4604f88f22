//! Lists of commands and targets, short keys, the reasons of waiting, and commands that need confirmation: the binary with a
//! real bus and no worker.

use std::collections::BTreeMap;
use std::time::Duration;

use sailhand::bus::TargetCard;
use sailhand::event::{CommandKey, Outcome};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::bus::{BusEnv, err, lines, out, started};
use crate::support::eventually::eventually;

fn of<'a>(commands: &'a [Value], key: &CommandKey) -> &'a Value {
    commands.iter().find(|it| it["key"] == key.as_str()).unwrap()
}

/// Publishes the card of a target until the token is dropped, as a worker does.
pub(crate) async fn with_card(test_env: &BusEnv, target: &str) -> CancellationToken {
    let card = TargetCard {
        worker: "w.1".to_owned(),
        version: "0.1.0".to_owned(),
        slots: 64,
        context: "kind-dev".to_owned(),
        server: "https://127.0.0.1:6443".to_owned(),
        user: "admin".to_owned(),
        ..TargetCard::default()
    };
    let stop = CancellationToken::new();
    tokio::spawn(test_env.bus.clone().publish_cards(BTreeMap::from([(target.to_owned(), card)]), stop.clone()));
    eventually("the card is published", Duration::from_secs(10), async || {
        let targets = lines(&test_env.run(&["targets", "-o", "jsonl"]).await);
        targets.iter().any(|it| it["target"] == target && it["workers"][0]["worker"] == "w.1").then_some(())
    })
    .await;
    stop
}

#[tokio::test]
async fn list_shows_queued_running_and_ended_commands() {
    let test_env = BusEnv::new().await;
    let ended = test_env.submit(&[]).await;
    let (origin, _ended) = test_env.take().await;
    test_env.publish_event(&origin, 0, &started()).await;
    test_env.end(&origin, Outcome::Failed).await;
    let running = test_env.submit(&[]).await;
    let (origin, _running) = test_env.take().await;
    test_env.publish_event(&origin, 0, &started()).await;
    let queued = test_env.submit(&[]).await;

    let commands = lines(&test_env.run(&["list"]).await);
    assert_eq!(of(&commands, &ended)["state"], "failed");
    assert_eq!(
        (&of(&commands, &running)["state"], &of(&commands, &running)["attempts"]),
        (&"running".into(), &1.into())
    );
    assert_eq!((&of(&commands, &queued)["state"], &of(&commands, &queued)["verb"]), (&"queued".into(), &"ping".into()));
    let only = lines(&test_env.run(&["list", "--state", "running"]).await);
    assert_eq!(only.iter().map(|it| it["key"].as_str().unwrap()).collect::<Vec<_>>(), [running.as_str()]);
    assert!(lines(&test_env.run(&["list", "-t", "other"]).await).is_empty());
    let text = out(&test_env.run(&["list", "-o", "text"]).await);
    assert!(text.starts_with("KEY"), "{text}");
    assert!(text.contains(&running.as_str()[..8]) && text.contains("running"), "{text}");
}

/// Before: the digits that every progress line prints were taken for a CloudEvents id; `cancel` wrote a note about a
/// command that does not exist, with exit code 0.
#[tokio::test]
async fn first_digits_of_a_key_name_the_command() {
    let test_env = BusEnv::new().await;
    let queued = test_env.submit(&[]).await;
    let short = &queued.as_str()[..8];
    assert!(out(&test_env.run(&["get", short]).await).contains("queued"));
    let (origin, _delivery) = test_env.take().await;
    test_env.publish_event(&origin, 0, &started()).await;
    assert_eq!(lines(&test_env.run(&["get", short]).await)[0]["key"], queued.as_str());
    assert_eq!(test_env.run(&["cancel", short]).await.status.code(), Some(0));
    test_env.end(&origin, Outcome::Cancelled).await;
    assert_eq!(test_env.run(&["watch", short]).await.status.code(), Some(4));
}

#[tokio::test]
async fn unknown_keys_exit_with_8_and_write_nothing() {
    let test_env = BusEnv::new().await;
    test_env.submit(&[]).await;
    let control = "KV_istio_control";
    let whole = "0123456789abcdef0123456789abcdef";
    for args in [["cancel", "0123"], ["cancel", "no-such-id"], ["cancel", whole], ["get", "0123abcd"], ["watch", whole]]
    {
        let output = test_env.run(&args).await;
        assert_eq!(output.status.code(), Some(8), "{args:?}: {}", err(&output));
        assert!(err(&output).contains(args[1]), "{}", err(&output));
    }
    let mut stream = test_env.bus.context().get_stream(control).await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 0);
}

#[tokio::test]
async fn an_ambiguous_key_names_the_candidates() {
    let test_env = BusEnv::new().await;
    // Two ids whose keys begin with the same four digits, found by trying.
    let mut seen = BTreeMap::new();
    let (first, second) = (0u32..)
        .find_map(|n| {
            let key = CommandKey::new("/ci", &n.to_string());
            seen.insert(key.as_str()[..4].to_owned(), n).map(|before| (before, n))
        })
        .unwrap();
    for n in [first, second] {
        test_env.submit(&["--source", "/ci", "--id", &n.to_string()]).await;
    }
    let key = CommandKey::new("/ci", &first.to_string());
    let output = test_env.run(&["get", &key.as_str()[..4]]).await;
    assert_eq!(output.status.code(), Some(2), "{}", err(&output));
    assert!(err(&output).contains("SH5012") && err(&output).contains(key.as_str()), "{}", err(&output));
}

#[tokio::test]
async fn waiting_names_its_reason() {
    let test_env = BusEnv::new().await;
    let wait = async |target: &str| {
        let output = test_env.run(&["submit", "ping", "-t", target, "--wait", "--timeout", "5s"]).await;
        assert_eq!(output.status.code(), Some(5));
        err(&output)
    };
    let said = wait("dev").await;
    assert!(said.contains("no worker is running"), "{said}");
    let _card = with_card(&test_env, "dev").await;
    let said = wait("dev").await;
    assert!(said.contains("no worker has started it yet"), "{said}");
    let said = wait("dve").await;
    assert!(said.contains("did you mean dev?") && said.contains("no worker has target dve"), "{said}");
    assert_eq!(test_env.run(&["pause", "dev", "--reason", "cluster upgrade"]).await.status.code(), Some(0));
    let said = wait("dev").await;
    assert!(said.contains("target dev has been paused since") && said.contains("cluster upgrade"), "{said}");
}

#[tokio::test]
async fn targets_lists_targets_of_workers() {
    let test_env = BusEnv::new().await;
    let card = with_card(&test_env, "dev").await;
    let text = out(&test_env.run(&["targets", "-o", "text"]).await);
    assert!(text.contains("kind-dev") && text.contains("https://127.0.0.1:6443"), "{text}");
    card.cancel();
    eventually("the card is deleted", Duration::from_secs(10), async || {
        lines(&test_env.run(&["targets", "-o", "jsonl"]).await).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn deletions_need_consent_without_a_terminal() {
    let test_env = BusEnv::new().await;
    let submit = async |args: &[&str]| {
        let output = test_env.run(&[&["submit", "mesh.uninstall", "-t", "dev"], args].concat()).await;
        (output.status.code(), err(&output))
    };
    for args in [&["-p", "all=true"][..], &["-p", "purge=true", "-p", "confirm=other"]] {
        let (code, said) = submit(args).await;
        assert!(code == Some(2) && said.contains("SH5011"), "{args:?}: {said}");
    }
    let (code, said) = submit(&[]).await;
    assert!(code == Some(3) && said.contains("one of `revision`, `tags`, `all`, `purge` is required"), "{said}");
    assert!(lines(&test_env.run(&["list"]).await).is_empty(), "nothing was sent");
    for args in [
        &["-p", "all=true", "--yes"][..],
        &["-p", "all=true", "-p", "dry_run=true"],
        &["-p", "revision=one"],
        // A parameter that repeats the name of the target is consent too.
        &["-p", "purge=true", "-p", "confirm=dev"],
    ] {
        let (code, said) = submit(args).await;
        assert_eq!(code, Some(0), "{args:?}: {said}");
    }
}
