//! Leader election by a Lease of `coordination.k8s.io/v1`, as client-go does it: the holder renews, another candidate
//! takes over when the Lease was not renewed for its duration by the candidate's own clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::api::{DynamicObject, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::request::{api, resource, send};
use super::{FIELD_MANAGER, LEASE, Options};
use crate::clock::Clock;
use crate::cluster::ApiError;

/// A Lease that was not renewed for so long is free.
const DURATION: Duration = Duration::from_secs(15);
/// The holder stops to write when it could not renew for so long: earlier than another can take over.
const RENEW_WITHIN: Duration = Duration::from_secs(10);
/// Between two reads of the Lease.
const EVERY: Duration = Duration::from_secs(2);

/// Candidate of the leader election.
pub struct Lease {
    api: Api<DynamicObject>,
    identity: String,
    /// When this process has to stop writing; `None` when it does not lead.
    until: Mutex<Option<Instant>>,
}

/// What was last seen of another holder: its mark, and when the mark was new.
struct Seen {
    mark: Value,
    at: Instant,
}

impl Lease {
    pub fn new(client: &Client, options: &Options) -> Self {
        let leases = resource("coordination.k8s.io", "v1", "Lease", "leases");
        let api = api(client, &options.namespace, &leases);
        Self { api, identity: options.identity.clone(), until: Mutex::new(None) }
    }

    /// Whether this process may write now.
    pub fn is_held(&self) -> bool {
        self.until().is_some_and(|until| Instant::now() < until)
    }

    fn until(&self) -> Option<Instant> {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, until: Option<Instant>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Acquires and renews the Lease until `stop`, then releases it. `changed` is notified when this process becomes the
    /// leader.
    pub async fn run(self: Arc<Self>, changed: Arc<Notify>, stop: CancellationToken) {
        let mut seen = Seen { mark: Value::Null, at: Instant::now() };
        let mut trouble = String::new();
        let clock = Clock::system();
        while !stop.is_cancelled() {
            let (was_held, begun) = (self.is_held(), Instant::now());
            match self.renew(&mut seen).await {
                Ok(true) => {
                    trouble.clear();
                    self.hold(Some(begun + RENEW_WITHIN));
                    if !was_held {
                        tracing::info!(identity = self.identity, "leading");
                        changed.notify_one();
                    }
                }
                Ok(false) => {
                    trouble.clear();
                    self.hold(None);
                    if was_held {
                        tracing::warn!("another controller leads now");
                    }
                }
                Err(fault) => {
                    let text = fault.to_string();
                    if text != trouble {
                        tracing::warn!("cannot renew Lease {LEASE}: {text}");
                        trouble = text;
                    }
                }
            }
            tokio::select! {
                () = clock.sleep(EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
        if self.until().is_some() {
            self.hold(None);
            self.release().await;
        }
    }

    /// Whether this process holds the Lease.
    async fn renew(&self, seen: &mut Seen) -> Result<bool, ApiError> {
        let Some(mut lease) = send(self.api.get_opt(LEASE)).await? else {
            let mut lease = DynamicObject::new(LEASE, &resource("coordination.k8s.io", "v1", "Lease", "leases"));
            lease.data = json!({ "spec": self.spec(&Value::Null) });
            return written(send(self.api.create(&params(), &lease)).await);
        };
        let spec = &lease.data["spec"];
        let holder = spec["holderIdentity"].as_str().unwrap_or_default();
        if holder != self.identity && !holder.is_empty() {
            let mark = json!([holder, spec["renewTime"]]);
            if seen.mark != mark {
                *seen = Seen { mark, at: Instant::now() };
            }
            if seen.at.elapsed() < DURATION {
                return Ok(false);
            }
        }
        let spec = self.spec(spec);
        lease.data["spec"] = spec;
        written(send(self.api.replace(LEASE, &params(), &lease)).await)
    }

    /// The Lease with this process as its holder.
    fn spec(&self, old: &Value) -> Value {
        let now = micro_time(Clock::system().now());
        let is_ours = old["holderIdentity"] == self.identity.as_str();
        let transitions = old["leaseTransitions"].as_u64().unwrap_or_default();
        json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": DURATION.as_secs(),
            "acquireTime": if is_ours { old["acquireTime"].clone() } else { json!(now) },
            "renewTime": now,
            "leaseTransitions": if is_ours || old.is_null() { transitions } else { transitions + 1 },
        })
    }

    async fn release(&self) {
        let released = async {
            let Some(mut lease) = send(self.api.get_opt(LEASE)).await? else { return Ok(()) };
            if lease.data["spec"]["holderIdentity"] == self.identity.as_str() {
                lease.data["spec"]["holderIdentity"] = "".into();
                send(self.api.replace(LEASE, &params(), &lease)).await?;
            }
            Ok::<_, ApiError>(())
        };
        if let Err(fault) = released.await {
            tracing::warn!("cannot release Lease {LEASE}: {fault}");
        }
    }
}

/// Whether the write succeeded; false when another controller wrote at the same time and holds the Lease.
fn written(answer: Result<DynamicObject, ApiError>) -> Result<bool, ApiError> {
    match answer {
        Ok(_) => Ok(true),
        Err(ApiError::Conflict(_)) => Ok(false),
        Err(fault) => Err(fault),
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// `metav1.MicroTime`, which requires six decimal digits.
pub fn micro_time(at: OffsetDateTime) -> String {
    let (date, time, micros) = (at.date(), at.time(), at.microsecond());
    let (hour, minute, second) = time.as_hms();
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}
