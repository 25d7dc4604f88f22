//! Waits until a controller has written the CA bundle into webhook configurations: before that the API server cannot
//! call the webhooks, and rejects the objects that they select. Writes nothing.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::cluster::guarded::{guarded, sleep};
use crate::cluster::{Cluster, Error, ObjectRef};
use crate::error::{Class, Classify};
use crate::guard::Guard;
use crate::progress::{Progress, Step};

/// Between two looks: short at first, then longer.
const POLL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// Waits until each webhook of these configurations has a `caBundle`. A configuration that does not exist is not waited
/// for.
///
/// # Errors
/// `NotReady` with those that have none after `at_most`, or the guard's reason to stop.
pub async fn until_injected(
    cluster: &Cluster,
    configurations: &[ObjectRef],
    at_most: Duration,
    guard: &Guard,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let deadline = Instant::now() + at_most;
    let mut told = None;
    let mut pause = POLL.0;
    loop {
        let waiting = match guarded(guard, without_bundle(cluster, configurations)).await {
            Ok(waiting) => waiting,
            Err(error) if matches!(error.class(), Class::Retry { .. }) => vec![error.to_string()],
            Err(error) => return Err(error),
        };
        if waiting.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::NotReady { waiting, after: at_most });
        }
        let done = configurations.len().saturating_sub(waiting.len());
        let step = Step {
            phase: "wait".to_owned(),
            message: waiting.join("; "),
            done: done as u64,
            total: configurations.len() as u64,
        };
        if told.as_ref() != Some(&step) {
            progress.report(step.clone());
            told = Some(step);
        }
        sleep(guard, pause).await?;
        pause = POLL.1.min(pause * 3 / 2);
    }
}

async fn without_bundle(cluster: &Cluster, configurations: &[ObjectRef]) -> Result<Vec<String>, Error> {
    let mut waiting = Vec::new();
    for object in configurations {
        let Some(live) = cluster.get(object).await? else { continue };
        if !is_injected(&live) {
            waiting.push(format!("{object}: istiod has not set caBundle yet"));
        }
    }
    Ok(waiting)
}

fn is_injected(configuration: &Value) -> bool {
    let hooks = configuration["webhooks"].as_array().map_or(&[][..], Vec::as_slice);
    hooks.iter().all(|hook| hook["clientConfig"]["caBundle"].as_str().is_some_and(|bundle| !bundle.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_webhook_needs_its_certificate() {
        let hooks = |bundles: &[&str]| {
            let hooks: Vec<_> = bundles.iter().map(|it| json!({"clientConfig": {"caBundle": it}})).collect();
            json!({ "webhooks": hooks })
        };
        assert!(is_injected(&hooks(&["Zm9v", "Zm9v"])));
        assert!(!is_injected(&hooks(&["Zm9v", ""])));
        assert!(!is_injected(&json!({"webhooks": [{"clientConfig": {}}]})));
    }
}
