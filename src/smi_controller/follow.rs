//! Follows one kind of the cluster and keeps what was read of each object.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use futures::StreamExt;
use kube::api::DynamicObject;
use kube::discovery::ApiResource;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::request;
use crate::cluster::ApiError;

/// Objects in one page of a list; bounds memory while a list is read.
const PAGE: u32 = 100;

/// Namespace and name. The namespace of a cluster-wide object is empty.
pub type Key = (String, String);

/// State of one kind.
pub struct Store<T> {
    state: RwLock<State<T>>,
}

struct State<T> {
    objects: HashMap<Key, Arc<T>>,
    /// Why the objects are not known, until they are.
    waiting: Option<String>,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        let state = State { objects: HashMap::new(), waiting: Some("not listed yet".to_owned()) };
        Self { state: RwLock::new(state) }
    }
}

impl<T> Store<T> {
    /// Why the objects are not known; `None` when they are.
    pub fn waiting(&self) -> Option<String> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).waiting.clone()
    }

    /// All objects, in no order.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).objects.values().map(Arc::clone).collect()
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.state.read().unwrap_or_else(PoisonError::into_inner).objects.get(&key).map(Arc::clone)
    }

    fn write<R>(&self, change: impl FnOnce(&mut State<T>) -> R) -> R {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T: PartialEq> Store<T> {
    /// Stores an object, or forgets it. Whether anything is other than before.
    pub fn put(&self, key: Key, object: Option<Arc<T>>) -> bool {
        self.write(|state| match object {
            Some(object) => {
                let old = state.objects.insert(key, Arc::clone(&object));
                old.is_none_or(|old| *old != *object)
            }
            None => state.objects.remove(&key).is_some(),
        })
    }

    fn replace(&self, objects: HashMap<Key, Arc<T>>) -> bool {
        self.write(|state| {
            let was_waiting = state.waiting.take().is_some();
            let same = state.objects == objects;
            state.objects = objects;
            was_waiting || !same
        })
    }
}

/// Which objects of a kind, and what to keep of each.
pub struct Watch<T> {
    pub resource: ApiResource,
    /// All namespaces when empty.
    pub namespace: String,
    pub fields: Option<String>,
    /// `None` leaves the object out.
    pub read: fn(&Value) -> Option<T>,
}

impl<T: PartialEq + Send + Sync + 'static> Watch<T> {
    /// Follows the kind until `stop`. `changed` is notified when the store has other objects than before.
    ///
    /// A kind that the cluster does not serve has no objects; discovery is repeated.
    pub async fn follow(self, client: Client, store: Arc<Store<T>>, changed: Arc<Notify>, stop: CancellationToken) {
        let api: Api<DynamicObject> = match self.namespace.as_str() {
            "" => Api::all_with(client, &self.resource),
            namespace => Api::namespaced_with(client, namespace, &self.resource),
        };
        let mut config = watcher::Config::default().page_size(PAGE);
        if let Some(fields) = &self.fields {
            config = config.fields(fields);
        }
        let mut events = std::pin::pin!(watcher(api, config).default_backoff());
        let mut listed = HashMap::new();
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = stop.cancelled() => return,
            };
            let is_other = match event {
                None => return,
                Some(Ok(event)) => self.apply(event, &store, &mut listed),
                Some(Err(error)) => self.failed(&error, &store),
            };
            if is_other {
                changed.notify_one();
            }
        }
    }

    fn apply(&self, event: Event<DynamicObject>, store: &Store<T>, listed: &mut HashMap<Key, Arc<T>>) -> bool {
        match event {
            Event::Init => {
                listed.clear();
                false
            }
            Event::InitApply(object) => {
                let (key, object) = self.read(object);
                if let Some(object) = object {
                    listed.insert(key, object);
                }
                false
            }
            Event::InitDone => store.replace(std::mem::take(listed)),
            Event::Apply(object) => {
                let (key, object) = self.read(object);
                store.put(key, object)
            }
            Event::Delete(object) => store.put(key(&object), None),
        }
    }

    fn read(&self, object: DynamicObject) -> (Key, Option<Arc<T>>) {
        let key = key(&object);
        (key, (self.read)(&request::json(object)).map(Arc::new))
    }

    fn failed(&self, error: &watcher::Error, store: &Store<T>) -> bool {
        let kind = &self.resource.plural;
        let (watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause)) = error else {
            tracing::debug!("watch of {kind} was interrupted: {error}");
            return false;
        };
        match ApiError::of(cause) {
            ApiError::NotServed | ApiError::NotFound(_) => store.replace(HashMap::new()),
            // An old place in the history; the next list follows.
            ApiError::Conflict(_) => false,
            fault => {
                let text = format!("cannot list {kind}: {fault}");
                // The store keeps its objects while the API server is unreachable.
                let is_news = store.write(|state| match &mut state.waiting {
                    Some(waiting) if *waiting != text => {
                        waiting.clone_from(&text);
                        true
                    }
                    _ => false,
                });
                if is_news {
                    tracing::warn!("{text}");
                }
                false
            }
        }
    }
}

fn key(object: &DynamicObject) -> Key {
    let metadata = &object.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}
