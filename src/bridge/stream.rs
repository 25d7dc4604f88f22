//! Distributes events to the open `StreamEvents` calls. Each has a bounded queue, so that a slow reader neither delays the
//! others nor grows the process.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures::Stream;
use tokio::sync::{oneshot, watch};
use tonic::Status;

use super::error::Error;
use super::metrics::Metrics;
use super::proto::EventsResponse;
use super::text;
use crate::event::Target;

/// Events that wait in one stream.
const MAX_WAITING: usize = 256;
/// Final events that wait in one stream. The oldest is dropped for a further one, and the stream gets a warning; what no
/// stream has sent is delivered again.
const MAX_FINALS: usize = 192;

/// What may be dropped first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// An attempt failed and another follows.
    Retry,
    /// A warning or a finding.
    Warning,
    /// The end of a command.
    Final,
}

/// An event for all streams.
#[derive(Clone)]
pub(super) struct Item {
    pub event: Arc<EventsResponse>,
    pub rank: Rank,
    /// Clusters that the event is about. A stream that may not see one of them does not get it.
    pub targets: Vec<Target>,
    /// Reports the first stream that has sent the event.
    pub sent: Option<Arc<Receipt>>,
}

/// Fires when a stream has sent an event; its receiver fails when all streams have dropped it.
pub(super) struct Receipt(Mutex<Option<oneshot::Sender<()>>>);

impl Receipt {
    pub(super) fn new() -> (Arc<Self>, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Arc::new(Self(Mutex::new(Some(sender)))), receiver)
    }

    fn fire(&self) {
        if let Some(sender) = lock(&self.0).take() {
            let _ = sender.send(());
        }
    }
}

/// All open streams.
pub(super) struct Hub {
    queues: Mutex<Vec<Weak<Mutex<Queue>>>>,
    open: watch::Sender<usize>,
    limit: usize,
    metrics: Arc<Metrics>,
}

impl Hub {
    /// `limit` is the number of streams.
    pub(super) fn new(limit: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { queues: Mutex::default(), open: watch::Sender::new(0), limit, metrics })
    }

    /// Follows the number of open streams.
    pub(super) fn open(&self) -> watch::Receiver<usize> {
        self.open.subscribe()
    }

    /// Opens a stream of the events of these targets, of all if None; it closes when dropped.
    ///
    /// # Errors
    /// [`Error::TooMany`].
    pub(super) fn subscribe(self: &Arc<Self>, targets: Option<Arc<BTreeSet<Target>>>) -> Result<EventStream, Error> {
        let mut queues = lock(&self.queues);
        queues.retain(|queue| queue.strong_count() > 0);
        if queues.len() >= self.limit {
            return Err(Error::TooMany { what: "event streams", key: "max_streams", limit: self.limit });
        }
        let queue = Arc::new(Mutex::new(Queue { targets, ..Queue::default() }));
        queues.push(Arc::downgrade(&queue));
        drop(queues);
        self.open.send_modify(|open| *open += 1);
        Ok(EventStream { queue, hub: self.clone() })
    }

    /// Gives an event to every open stream that may see it.
    pub(super) fn publish(&self, item: &Item) {
        for queue in lock(&self.queues).iter().filter_map(Weak::upgrade) {
            if lock(&queue).push(item.clone()) {
                self.metrics.event("dropped");
            }
        }
    }

    /// Ends all streams: the process stops.
    pub(super) fn close(&self) {
        for queue in lock(&self.queues).drain(..).filter_map(|queue| queue.upgrade()) {
            lock(&queue).end(Status::unavailable("the bridge stops"));
        }
    }
}

#[derive(Default)]
struct Queue {
    /// Targets whose events the client may see; None for all.
    targets: Option<Arc<BTreeSet<Target>>>,
    items: VecDeque<Item>,
    /// A final event was dropped, and the client does not know yet.
    has_gap: bool,
    end: Option<Status>,
    ended: bool,
    waker: Option<Waker>,
}

impl Queue {
    /// Adds an event. Returns whether another one was dropped for it.
    fn push(&mut self, item: Item) -> bool {
        let visible = |allowed: &BTreeSet<Target>| item.targets.iter().all(|target| allowed.contains(target));
        if self.end.is_some() || self.ended || !self.targets.as_deref().is_none_or(visible) {
            return false;
        }
        let finals = || self.items.iter().filter(|item| item.rank == Rank::Final).count();
        let dropped = if item.rank == Rank::Final && finals() >= MAX_FINALS {
            self.has_gap = true;
            self.items.iter().position(|item| item.rank == Rank::Final)
        } else if self.items.len() >= MAX_WAITING {
            let lowest = self.items.iter().enumerate().min_by_key(|(index, item)| (item.rank, *index));
            lowest.filter(|(_, lowest)| lowest.rank < Rank::Final).map(|(index, _)| index)
        } else {
            None
        };
        if let Some(index) = dropped {
            self.items.remove(index);
        }
        self.items.push_back(item);
        self.wake();
        dropped.is_some()
    }

    fn end(&mut self, status: Status) {
        self.end = Some(status);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// One `StreamEvents` call.
pub struct EventStream {
    queue: Arc<Mutex<Queue>>,
    hub: Arc<Hub>,
}

impl Stream for EventStream {
    type Item = Result<EventsResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut queue = lock(&self.queue);
        if std::mem::take(&mut queue.has_gap) {
            return Poll::Ready(Some(Ok(text::gap())));
        }
        if let Some(item) = queue.items.pop_front() {
            if let Some(receipt) = &item.sent {
                receipt.fire();
            }
            self.hub.metrics.event("sent");
            return Poll::Ready(Some(Ok(Arc::unwrap_or_clone(item.event))));
        }
        if queue.ended {
            return Poll::Ready(None);
        }
        if let Some(status) = queue.end.take() {
            queue.ended = true;
            return Poll::Ready(Some(Err(status)));
        }
        queue.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.hub.open.send_modify(|open| *open -= 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    fn item(rank: Rank, summary: &str) -> (Item, oneshot::Receiver<()>) {
        let (receipt, sent) = Receipt::new();
        let event = Arc::new(EventsResponse { summary: summary.to_owned(), ..EventsResponse::default() });
        (Item { event, rank, targets: vec!["dev".parse().unwrap()], sent: Some(receipt) }, sent)
    }

    #[tokio::test]
    async fn full_queue_drops_retries_and_warnings_but_no_final() {
        let hub = Hub::new(1, Metrics::new());
        let mut stream = hub.subscribe(None).unwrap();
        for number in 0..MAX_WAITING {
            hub.publish(&item(Rank::Retry, &format!("retry {number}")).0);
        }
        hub.publish(&item(Rank::Warning, "warning").0);
        hub.publish(&item(Rank::Final, "final").0);
        let mut summaries = Vec::new();
        for _ in 0..MAX_WAITING {
            summaries.push(stream.next().await.unwrap().unwrap().summary);
        }
        assert_eq!(summaries[0], "retry 2");
        assert_eq!(summaries[MAX_WAITING - 2..], ["warning", "final"]);
    }

    /// Before: the stream ended with `ResourceExhausted`.
    #[tokio::test]
    async fn stream_that_is_read_slowly_gets_a_gap_and_dropped_finals_are_not_reported_as_sent() {
        let hub = Hub::new(1, Metrics::new());
        let mut stream = hub.subscribe(None).unwrap();
        let receipts: Vec<_> = (0..MAX_FINALS + 2)
            .map(|number| {
                let (item, sent) = item(Rank::Final, &number.to_string());
                hub.publish(&item);
                sent
            })
            .collect();
        let mut summaries = Vec::new();
        for _ in 0..=MAX_FINALS {
            summaries.push(stream.next().await.unwrap().unwrap().summary);
        }
        assert_eq!(summaries[0], text::gap().summary);
        let last = (MAX_FINALS + 1).to_string();
        assert_eq!((summaries[1].as_str(), summaries[MAX_FINALS].as_str()), ("2", last.as_str()));
        for (number, sent) in receipts.into_iter().enumerate() {
            assert_eq!(sent.await.is_ok(), number >= 2, "{number}");
        }
    }

    #[tokio::test]
    async fn closed_stream_frees_its_place_and_a_read_event_is_reported_as_sent() {
        let hub = Hub::new(1, Metrics::new());
        let mut stream = hub.subscribe(None).unwrap();
        assert!(matches!(hub.subscribe(None), Err(Error::TooMany { .. })));
        let (final_event, sent) = item(Rank::Final, "final");
        hub.publish(&final_event);
        stream.next().await.unwrap().unwrap();
        drop(final_event);
        sent.await.unwrap();
        drop(stream);
        assert!(hub.subscribe(None).is_ok() && *hub.open().borrow() == 0);
    }

    /// Else the result would count as sent, and another client would never get it.
    #[tokio::test]
    async fn stream_of_other_targets_neither_gets_an_event_nor_reports_it_as_sent() {
        let hub = Hub::new(2, Metrics::new());
        let of = |targets: &[&str]| Some(Arc::new(targets.iter().map(|id| id.parse().unwrap()).collect()));
        let mut other = hub.subscribe(of(&["prod"])).unwrap();
        let (unseen, sent) = item(Rank::Final, "unseen");
        hub.publish(&unseen);
        drop(unseen);
        assert!(sent.await.is_err());
        let mut own = hub.subscribe(of(&["dev", "prod"])).unwrap();
        let (seen, sent) = item(Rank::Final, "seen");
        hub.publish(&seen);
        drop(seen);
        assert_eq!(own.next().await.unwrap().unwrap().summary, "seen");
        sent.await.unwrap();
        hub.close();
        assert!(other.next().await.unwrap().is_err());
    }
}
