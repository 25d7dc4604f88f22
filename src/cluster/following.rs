//! Follows lists of a cluster: all objects of a kind, and then each change, over connections that break and rights that
//! are missing.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use kube::Api;
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{ApiError, Cluster, Error};
use crate::retry;

/// Objects in one page of a list.
const PAGE: u32 = 500;
/// Until discovery is repeated for a kind that the cluster does not serve.
const ABSENT: Duration = Duration::from_secs(30);
/// Failures of one watch in a row after which everything is listed again, with a client of its own.
const FAILURES: u32 = 4;

/// A list of a cluster: the objects of a kind in all namespaces, with these labels.
#[derive(Debug, Clone, Copy)]
pub struct Followed {
    /// Such as `apps/v1`.
    pub api_version: &'static str,
    /// Such as `Deployment`.
    pub kind: &'static str,
    /// A label selector.
    pub labels: Option<&'static str>,
    /// Drops what the caller does not read. It gets objects with their `kind`.
    pub slim: fn(Value) -> Value,
}

/// What is seen of a list.
#[derive(Debug)]
pub enum Seen {
    /// All objects there are; none if the cluster does not serve the kind.
    All(Vec<Value>),
    /// An object was created or changed.
    Put(Value),
    /// An object was deleted.
    Deleted(Value),
    /// It could not be read; it is tried again, and what was seen before stays.
    Unread(Error),
}

/// The receiver is closed.
struct Closed;

/// Where the changes of a list go to.
struct Sender {
    list: usize,
    to: mpsc::Sender<(usize, Seen)>,
}

impl Sender {
    async fn send(&self, seen: Seen) -> Result<(), Closed> {
        self.to.send((self.list, seen)).await.map_err(|_| Closed)
    }
}

/// Follows the list with number `list` until the receiver is closed. Without the right to watch it lists each `interval`.
pub async fn follow(
    cluster: Arc<Cluster>,
    list: usize,
    followed: Followed,
    interval: Duration,
    to: mpsc::Sender<(usize, Seen)>,
) {
    let to = Sender { list, to };
    let mut failures = 0;
    while let Ok(pause) = round(&cluster, &followed, interval, &to, &mut failures).await {
        tokio::time::sleep(pause).await;
    }
}

/// One list, and watches from there until everything has to be listed again; answers how long to wait until then.
async fn round(
    cluster: &Cluster,
    followed: &Followed,
    interval: Duration,
    to: &Sender,
    failures: &mut u32,
) -> Result<Duration, Closed> {
    // Credentials that were rejected are read again by this request.
    let kind = match cluster.kind(followed.api_version, followed.kind).await {
        Ok(Some(kind)) => kind,
        Ok(None) => {
            to.send(Seen::All(Vec::new())).await?;
            return Ok(ABSENT);
        }
        Err(error) => {
            *failures += 1;
            to.send(Seen::Unread(error)).await?;
            return Ok(retry::IN_PLACE.delay(*failures + 3, None));
        }
    };
    let api: Api<DynamicObject> = Api::all_with(cluster.client().await, &kind.resource);
    let mut config = watcher::Config::default().page_size(PAGE);
    if let Some(labels) = followed.labels {
        config = config.labels(labels);
    }
    let mut events = std::pin::pin!(watcher(api, config));
    let mut all = Vec::new();
    let mut failed = 0;
    loop {
        let error = match events.try_next().await {
            Ok(Some(event)) => {
                (failed, *failures) = (0, 0);
                match event {
                    Event::Init => all.clear(),
                    Event::InitApply(object) => all.extend(slim(followed, object)),
                    Event::InitDone => to.send(Seen::All(std::mem::take(&mut all))).await?,
                    Event::Apply(object) => {
                        if let Some(object) = slim(followed, object) {
                            to.send(Seen::Put(object)).await?;
                        }
                    }
                    Event::Delete(object) => {
                        if let Some(object) = slim(followed, object) {
                            to.send(Seen::Deleted(object)).await?;
                        }
                    }
                }
                continue;
            }
            Ok(None) => return Ok(retry::IN_PLACE.delay(FAILURES, None)),
            Err(error) => error,
        };
        failed += 1;
        match error {
            watcher::Error::InitialListFailed(error) => {
                *failures += 1;
                if matches!(ApiError::of(&error), ApiError::NotServed | ApiError::NotFound(_)) {
                    cluster.forget_kinds().await;
                }
                let (object, fault) = (kind.resource.plural.clone(), ApiError::of(&error));
                to.send(Seen::Unread(Error::Request { verb: "list", object, fault })).await?;
                return Ok(retry::IN_PLACE.delay(*failures + 3, None).max(pause_of(&error, interval)));
            }
            watcher::Error::WatchStartFailed(error) if is_forbidden(&error) => {
                tracing::info!(
                    "no right to watch {}: it is listed each {} s",
                    kind.resource.plural,
                    interval.as_secs()
                );
                return Ok(interval);
            }
            watcher::Error::WatchError(status) if status.code == 403 => return Ok(interval),
            error if failed >= FAILURES => {
                tracing::debug!("watch {}: {error}", kind.resource.plural);
                return Ok(retry::IN_PLACE.delay(FAILURES, None));
            }
            _ => tokio::time::sleep(retry::IN_PLACE.delay(failed, None)).await,
        }
    }
}

/// A list that is forbidden is not requested more often than one that may be listed and not watched.
fn pause_of(error: &kube::Error, interval: Duration) -> Duration {
    if is_forbidden(error) { interval } else { Duration::ZERO }
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(ApiError::of(error), ApiError::Forbidden(_))
}

fn slim(followed: &Followed, object: DynamicObject) -> Option<Value> {
    let mut value = serde_json::to_value(object).ok()?;
    value["kind"] = Value::from(followed.kind);
    Some((followed.slim)(value))
}
