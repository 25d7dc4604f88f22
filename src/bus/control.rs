//! What operators ask for, as this process knows it: a watch on the bus feeds it, running commands listen to it.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::event::CommandKey;

/// Cancelled commands and paused targets.
#[derive(Debug, Default)]
pub struct Control(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    cancelled: HashSet<CommandKey>,
    paused: HashSet<String>,
    running: HashMap<CommandKey, CancellationToken>,
}

impl Control {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the command is to end without being done.
    #[must_use]
    pub fn is_cancelled(&self, key: &CommandKey) -> bool {
        self.state().cancelled.contains(key)
    }

    /// Whether commands for the target are to wait.
    #[must_use]
    pub fn is_paused(&self, target: &str) -> bool {
        self.state().paused.contains(target)
    }

    /// Cancelled when the command is; until [`Control::forget`].
    #[must_use]
    pub fn listen(&self, key: &CommandKey) -> CancellationToken {
        let mut state = self.state();
        let token = state.running.entry(key.clone()).or_default().clone();
        if state.cancelled.contains(key) {
            token.cancel();
        }
        token
    }

    /// The command does not run here any more.
    pub fn forget(&self, key: &CommandKey) {
        self.state().running.remove(key);
    }

    /// Somebody cancelled the command, or (`false`) the note of it has aged out.
    pub fn set_cancelled(&self, key: &CommandKey, cancelled: bool) {
        let mut state = self.state();
        if !cancelled {
            state.cancelled.remove(key);
        } else if state.cancelled.insert(key.clone())
            && let Some(token) = state.running.get(key)
        {
            token.cancel();
        }
    }

    /// Somebody paused or resumed a target.
    pub fn set_paused(&self, target: &str, paused: bool) {
        let mut state = self.state();
        if paused {
            state.paused.insert(target.to_owned());
        } else {
            state.paused.remove(target);
        }
    }

    /// Forgets everything but what runs, before a watch starts over.
    pub fn reset(&self) {
        let mut state = self.state();
        state.cancelled.clear();
        state.paused.clear();
    }
}
