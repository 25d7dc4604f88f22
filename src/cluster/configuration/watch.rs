//! Follows one list of a cluster: all of it, then what changes, and all of it again where the API server cannot say what
//! has changed (410 Gone) or a connection was lost for too long. Judges nothing.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use kube::api::{WatchEvent, WatchParams};
use kube::core::request::Request;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{List, Place};
use crate::analysis::incremental::Change;
use crate::analysis::{Kind, ObjectRef, Resource, Value};
use crate::cluster::api_error::ApiError;
use crate::cluster::{Cluster, Error};
use crate::retry;

/// After so long the API server ends a watch, and one that is silent for longer is dead.
const AT_MOST: Duration = Duration::from_mins(5);
const GRACE: Duration = Duration::from_secs(15);
/// Until discovery is repeated for a kind that the cluster does not serve, and until a kind is listed again that may be
/// listed and not watched.
const ABSENT: Duration = Duration::from_secs(30);
/// Watches that fail in a row before everything is read again.
const FAILURES: u32 = 4;

/// The API server no longer has the changes after a resource version.
const GONE: u16 = 410;

/// What is seen of a list.
#[derive(Debug)]
pub(super) enum Seen {
    /// All there is of a kind.
    All(Kind, Vec<Resource>),
    /// One object is other than before.
    Changed(Change),
    /// It could not be read; it is tried again.
    Unread(Kind, String, Error),
}

/// Why a watch has ended.
enum End {
    /// In its time, or with a connection: it can be taken up again.
    Over,
    /// Changes in the meantime are unknown.
    Gone,
    /// Watching is forbidden.
    Forbidden,
    /// The receiver is closed.
    Unheard,
}

/// Watches a kind until the receiver is closed.
pub(super) async fn follow(list: List, cluster: Arc<Cluster>, to: mpsc::Sender<Seen>) {
    let mut failures = 0;
    loop {
        let mut found = Vec::new();
        let seen = match list.read(&cluster, &mut found).await {
            Ok(place) => {
                failures = 0;
                if to.send(Seen::All(list.kind, found)).await.is_err() {
                    return;
                }
                match place {
                    Some(place) => {
                        if list.watch(&cluster, place, &to).await.is_err() {
                            return;
                        }
                        failures = 1;
                    }
                    None => tokio::time::sleep(ABSENT).await,
                }
                None
            }
            Err(error) => {
                failures += 1;
                Some(Seen::Unread(list.kind, list.what(), error))
            }
        };
        if let Some(seen) = seen
            && to.send(seen).await.is_err()
        {
            return;
        }
        if failures > 0 {
            tokio::time::sleep(retry::IN_PLACE.delay(failures + 3, None)).await;
        }
    }
}

/// The receiver is closed.
struct Unheard;

impl List {
    /// Watches from a place until everything has to be read again.
    async fn watch(&self, cluster: &Cluster, mut place: Place, to: &mpsc::Sender<Seen>) -> Result<(), Unheard> {
        let mut failures = 0;
        while failures < FAILURES {
            let (begun, from) = (Instant::now(), place.resource_version.clone());
            let end = match tokio::time::timeout(AT_MOST + GRACE, self.watch_once(cluster, &mut place, to)).await {
                Ok(Ok(end)) => end,
                Ok(Err(error)) => {
                    tracing::debug!("watch {}: {error}", self.what());
                    End::Over
                }
                // Silent for longer than it may last.
                Err(_) => End::Over,
            };
            match end {
                End::Gone => return Ok(()),
                End::Forbidden => {
                    tokio::time::sleep(ABSENT).await;
                    return Ok(());
                }
                End::Unheard => return Err(Unheard),
                End::Over if place.resource_version != from || begun.elapsed() > GRACE => failures = 0,
                End::Over => failures += 1,
            }
            if failures > 0 {
                tokio::time::sleep(retry::IN_PLACE.delay(failures, None)).await;
            }
        }
        Ok(())
    }

    async fn watch_once(&self, cluster: &Cluster, place: &mut Place, to: &mpsc::Sender<Seen>) -> Result<End, Error> {
        let (path, api_version, what) = (self.path(place.version), self.api_version(place.version), self.what());
        let params = WatchParams {
            label_selector: self.labels.map(str::to_owned),
            field_selector: self.fields.clone(),
            timeout: u32::try_from(AT_MOST.as_secs()).ok(),
            bookmarks: true,
            ..WatchParams::default()
        };
        let from = place.resource_version.clone();
        let opened = cluster
            .call("watch", &what, |client| {
                let request = Request::new(path.as_str()).watch(&params, &from);
                async move {
                    match client.request_events::<Value>(request.map_err(kube::Error::BuildRequest)?).await {
                        Err(kube::Error::Api(status)) if status.code == GONE => Ok(None),
                        opened => opened.map(Some),
                    }
                }
            })
            .await;
        let events = match opened {
            Err(Error::Request { fault: ApiError::NotFound(_) | ApiError::NotServed, .. }) => return Ok(End::Gone),
            Err(Error::Request { fault: ApiError::Forbidden(_), .. }) => {
                tracing::info!("no right to watch {what}: it is read again now and then");
                return Ok(End::Forbidden);
            }
            opened => match opened? {
                Some(events) => events,
                None => return Ok(End::Gone),
            },
        };
        let mut events = std::pin::pin!(events);
        let failed =
            |error: &kube::Error| Error::Request { verb: "watch", object: what.clone(), fault: ApiError::of(error) };
        while let Some(event) = events.try_next().await.map_err(|error| failed(&error))? {
            let (item, is_there) = match event {
                WatchEvent::Added(item) | WatchEvent::Modified(item) => (item, true),
                WatchEvent::Deleted(item) => (item, false),
                WatchEvent::Bookmark(bookmark) => {
                    place.resource_version = bookmark.metadata.resource_version;
                    continue;
                }
                // 410: the place is too old. Whatever else it is, reading all of it is the way on.
                WatchEvent::Error(_) => return Ok(End::Gone),
            };
            item["metadata"]["resourceVersion"].text().clone_into(&mut place.resource_version);
            let Some(resource) = self.resource(item, &api_version) else { continue };
            let change =
                if is_there { Change::Put(Box::new(resource)) } else { Change::Delete(ObjectRef::from(&resource)) };
            if to.send(Seen::Changed(change)).await.is_err() {
                return Ok(End::Unheard);
            }
        }
        Ok(End::Over)
    }
}
