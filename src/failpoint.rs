//! Named steps at which a fault test kills or stops the process. Only with the feature `failpoints`, which releases do not
//! have; without it the calls compile to nothing. Used by all layers.
//!
//! Tests and processes communicate through the folder `SAILHAND_FAILPOINTS`. A file with the name of a step contains the
//! signal (`KILL`, `STOP`) that the first process at this step sends to itself. Processes append a line to `visited` for each
//! step that they reach for the first time, and to `hit` for each signal: step, signal, process id.
//!
//! The crate `fail` cannot end one of several processes, and does not report which steps were reached.

macro_rules! steps {
    ($( $step:ident $name:literal $text:literal; )+) => {
        /// The steps, in the order in which a command takes them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Step { $( #[doc = $text] $step, )+ }

        impl Step {
            /// All steps.
            pub const ALL: &'static [Self] = &[ $( Self::$step, )+ ];

            /// Name in files and reports.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $( Self::$step => $name, )+ } }
        }
    };
}

steps! {
    Received "received" "A delivery was received and is not decoded.";
    Decoded "decoded" "The message is a valid command.";
    LookedUp "looked-up" "The command has no result.";
    Leased "leased" "The lease is held, no attempt is recorded.";
    Recorded "recorded" "The attempt is recorded, the task has not started.";
    Started "started" "The event `started` is published.";
    Planned "planned" "The cluster has been compared, nothing is written.";
    Fenced "fenced" "The inventory has the fence, no object is written.";
    ObjectWritten "object-written" "One object is written; there may be more.";
    ObjectsWritten "objects-written" "All are written, nothing is pruned yet.";
    Removing "removing" "Objects are about to be deleted.";
    TaskEnded "task-ended" "The task has ended, and no result is published yet.";
    Retried "retried" "The failure of the attempt is recorded, the message is not requeued.";
    DeadLettered "dead-lettered" "The dead letter is published, the result is not.";
    Committing "committing" "The result is about to be published.";
    Committed "committed" "The result is published, the message is not acknowledged and the lease is held.";
    Released "released" "The lease is released, the message is not acknowledged.";
    Settled "settled" "The message is acknowledged.";
}

/// The process has reached a step.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
#[allow(clippy::inline_always, reason = "so that nothing of it is left")]
pub const fn reach(_: Step) {}

#[cfg(feature = "failpoints")]
pub use armed::reach;

#[cfg(feature = "failpoints")]
mod armed {
    use std::fs::{self, File};
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::Step;

    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    static VISITED: [AtomicBool; Step::ALL.len()] = [const { AtomicBool::new(false) }; Step::ALL.len()];

    /// The process reached a step: executes the fault that is configured for it.
    pub fn reach(step: Step) {
        let Some(folder) = FOLDER.get_or_init(crate::config::failpoint_folder) else { return };
        if !VISITED[step as usize].swap(true, Ordering::Relaxed) {
            note(folder, "visited", step.name());
        }
        let id = std::process::id();
        let claimed = folder.join(format!("{}.{id}", step.name()));
        // Of several processes one gets it.
        if fs::rename(folder.join(step.name()), &claimed).is_err() {
            return;
        }
        let signal = fs::read_to_string(&claimed).unwrap_or_default();
        let _ = fs::remove_file(&claimed);
        note(folder, "hit", &format!("{} {signal} {id}", step.name()));
        let _ = Command::new("kill").args(["-s", &signal, &id.to_string()]).status();
        if signal == "KILL" {
            loop {
                std::thread::park();
            }
        }
    }

    fn note(folder: &Path, file: &str, line: &str) {
        let opened = File::options().create(true).append(true).open(folder.join(file));
        // One write, so that lines of several processes do not mix.
        let _ = opened.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    }
}
