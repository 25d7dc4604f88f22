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
    /// With the target it was asked for; `None` is whatever target, as operators ask.
    cancelled: HashMap<CommandKey, Option<String>>,
    paused: HashSet<String>,
    running: HashMap<CommandKey, (String, CancellationToken)>,
}

impl Control {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the command is to end without being done.
    #[must_use]
    pub fn is_cancelled(&self, key: &CommandKey, target: &str) -> bool {
        self.state().cancelled.get(key).is_some_and(|asked| meant(asked.as_deref(), target))
    }

    /// Whether commands for the target are to wait.
    #[must_use]
    pub fn is_paused(&self, target: &str) -> bool {
        self.state().paused.contains(target)
    }

    /// Cancelled when the command is; until [`Control::forget`].
    #[must_use]
    pub fn listen(&self, key: &CommandKey, target: &str) -> CancellationToken {
        let mut state = self.state();
        let token = CancellationToken::new();
        if state.cancelled.get(key).is_some_and(|asked| meant(asked.as_deref(), target)) {
            token.cancel();
        }
        state.running.insert(key.clone(), (target.to_owned(), token.clone()));
        token
    }

    /// The command does not run here any more.
    pub fn forget(&self, key: &CommandKey) {
        self.state().running.remove(key);
    }

    /// Somebody cancelled the command, if it is one of `target` (of any, when `None`).
    pub fn cancel(&self, key: &CommandKey, target: Option<String>) {
        let mut state = self.state();
        if let Some((running, token)) = state.running.get(key)
            && meant(target.as_deref(), running)
        {
            token.cancel();
        }
        state.cancelled.insert(key.clone(), target);
    }

    /// The note of a cancellation has gone.
    pub fn forget_cancelled(&self, key: &CommandKey) {
        self.state().cancelled.remove(key);
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

/// Whether a cancellation for `asked` is meant for a command of `target`.
fn meant(asked: Option<&str>, target: &str) -> bool {
    asked.is_none_or(|asked| asked == target)
}
