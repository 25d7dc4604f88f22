//! Whether a running task may continue: its lease is valid, its deadline has not passed, the command is not cancelled and
//! the process is not shutting down. Checked before each write to a cluster.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Class, Classify, Code};

/// Why a task has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// A client cancelled the command.
    #[error("the command was cancelled")]
    Cancelled,
    /// The deadline has passed.
    #[error("the deadline passed while the command ran")]
    Deadline,
    /// The lease was lost or has expired.
    #[error("the lease on the installation was lost")]
    LostLease,
    /// The process is shutting down.
    #[error("the worker is shutting down")]
    Shutdown,
}

impl Classify for Stop {
    fn class(&self) -> Class {
        match self {
            Self::Cancelled => Class::Cancelled,
            Self::Deadline => Class::Expired,
            Self::LostLease => Class::LostLease,
            Self::Shutdown => Class::Shutdown,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Cancelled => Code::SH1012,
            Self::Deadline => Code::SH1015,
            Self::LostLease | Self::Shutdown => Code::SH2005,
        }
    }
}

/// The permission of a task to continue. The engine revokes it; the task checks it.
#[derive(Debug, Clone)]
pub struct Guard {
    cancelled: CancellationToken,
    shutdown: CancellationToken,
    lost: CancellationToken,
    deadline: Instant,
    fence: u64,
    lease_until: Arc<Mutex<Option<Instant>>>,
    writes: Arc<watch::Sender<usize>>,
    first_write: CancellationToken,
    write_record: Option<CancellationToken>,
}

/// A write to a cluster that is in progress until this is dropped.
#[derive(Debug)]
#[must_use = "the write is in progress until this is dropped"]
pub struct Writing(Arc<watch::Sender<usize>>);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.send_modify(|writes| *writes -= 1);
    }
}

impl Guard {
    /// A guard for work that must end by `deadline`. `fence` is the lease's revision (monotone over all
    /// targets and owners), 0 for work without a lease.
    #[must_use]
    pub fn new(deadline: Instant, fence: u64, shutdown: CancellationToken) -> Self {
        Self {
            cancelled: CancellationToken::new(),
            shutdown,
            lost: CancellationToken::new(),
            deadline,
            fence,
            lease_until: Arc::new(Mutex::new(None)),
            writes: Arc::default(),
            first_write: CancellationToken::new(),
            write_record: None,
        }
    }

    /// The same guard, but its first write waits for [`Self::write_recorded`]. See [`Self::first_write`].
    #[must_use]
    pub fn requiring_write_record(self) -> Self {
        Self { write_record: Some(CancellationToken::new()), ..self }
    }

    /// The lease's revision; written to the cluster before the first write of a task.
    #[must_use]
    pub const fn fence(&self) -> u64 {
        self.fence
    }

    /// For restoring what a stopped task has changed: it shares the lease and the writes, and ignores a cancellation and
    /// the deadline for `time`. The engine drops a task that takes longer than its safe point (10 s).
    #[must_use]
    pub fn for_cleanup(&self, time: std::time::Duration) -> Self {
        Self { cancelled: CancellationToken::new(), deadline: Instant::now() + time, ..self.clone() }
    }

    /// Deadline of the task.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the task may continue. The lease is judged by the monotonic clock, so a process that was suspended past its
    /// lease stops before its next write even without a notification.
    ///
    /// # Errors
    /// The reason to stop.
    pub fn check(&self) -> Result<(), Stop> {
        let lease_until = *self.lease_until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if self.lost.is_cancelled() || lease_until.is_some_and(|until| now >= until) {
            Err(Stop::LostLease)
        } else if self.cancelled.is_cancelled() {
            Err(Stop::Cancelled)
        } else if now >= self.deadline {
            Err(Stop::Deadline)
        } else if self.shutdown.is_cancelled() {
            Err(Stop::Shutdown)
        } else {
            Ok(())
        }
    }

    /// Completes when the task has to stop.
    pub async fn stopped(&self) -> Stop {
        loop {
            if let Err(stop) = self.check() {
                return stop;
            }
            let lease_until = *self.lease_until.lock().unwrap_or_else(PoisonError::into_inner);
            let wake = lease_until.map_or(self.deadline, |until| until.min(self.deadline));
            tokio::select! {
                () = self.lost.cancelled() => {}
                () = self.cancelled.cancelled() => {}
                () = self.shutdown.cancelled() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Starts a write, if the task may continue. The engine awaits a started write also after a cancellation, so that no write
    /// reaches the cluster after the result of the command. Without the lease the engine does not wait.
    ///
    /// # Errors
    /// The reason to stop.
    pub async fn writing(&self) -> Result<Writing, Stop> {
        self.check()?;
        self.first_write.cancel();
        if let Some(write_record) = self.write_record.as_ref().filter(|write_record| !write_record.is_cancelled()) {
            tokio::select! {
                biased;
                stop = self.stopped() => return Err(stop),
                () = write_record.cancelled() => {}
            }
        }
        self.writes.send_modify(|writes| *writes += 1);
        Ok(Writing(Arc::clone(&self.writes)))
    }

    /// Completes before the first write of the task.
    pub async fn first_write(&self) {
        self.first_write.cancelled().await;
    }

    /// Whether the task has written or was about to write.
    #[must_use]
    pub fn has_started_writing(&self) -> bool {
        self.first_write.is_cancelled()
    }

    /// Permits the first write.
    pub fn write_recorded(&self) {
        if let Some(write_record) = &self.write_record {
            write_record.cancel();
        }
    }

    /// Completes when no write is in progress.
    pub async fn writes_finished(&self) {
        let _ = self.writes.subscribe().wait_for(|writes| *writes == 0).await; // the sender is ours
    }

    /// Completes when the lease is lost.
    pub async fn lease_lost(&self) {
        while self.check() != Err(Stop::LostLease) {
            let lease_until = *self.lease_until.lock().unwrap_or_else(PoisonError::into_inner);
            let over = async {
                match lease_until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! { () = self.lost.cancelled() => {}, () = over => {} }
        }
    }

    /// Stops the task, because a client cancelled the command.
    pub fn cancel(&self) {
        self.cancelled.cancel();
    }

    /// Stops the task, because the lease is lost.
    pub fn lose_lease(&self) {
        self.lost.cancel();
    }

    /// Records that the lease is valid until `until`.
    pub fn extend_lease(&self, until: Instant) {
        *self.lease_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }
}
