//! Cancellations and pauses in this process. A watch of the control bucket updates them, and running commands are notified.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::event::{CommandId, CommandKey, Target};

/// A request to end a command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cancellation {
    /// The command.
    pub key: CommandKey,
    /// The target of the command. `None` means the commands with this key on all targets, which only operators may cancel.
    pub target: Option<Target>,
}

impl From<&CommandId> for Cancellation {
    fn from(command: &CommandId) -> Self {
        Self { key: command.key.clone(), target: Some(command.target.clone()) }
    }
}

impl Cancellation {
    /// The commands with this key on all targets.
    #[must_use]
    pub fn of_all_targets(key: &CommandKey) -> Self {
        Self { key: key.clone(), target: None }
    }

    fn applies_to(&self, command: &CommandId) -> bool {
        self.key == command.key && self.target.as_ref().is_none_or(|target| *target == command.target)
    }
}

/// All cancellations and pauses on the bus at one time.
#[derive(Debug, Default)]
pub struct ControlState {
    /// Cancelled commands.
    pub cancelled: HashSet<Cancellation>,
    /// Paused targets.
    pub paused: HashSet<String>,
}

/// Cancelled commands, paused targets, and the commands that run in this process.
#[derive(Debug, Default)]
pub struct Control(Mutex<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: ControlState,
    running: HashMap<CommandId, CancellationToken>,
}

impl Shared {
    fn is_cancelled(&self, command: &CommandId) -> bool {
        let cancelled = &self.state.cancelled;
        cancelled.contains(&Cancellation::from(command))
            || cancelled.contains(&Cancellation::of_all_targets(&command.key))
    }
}

impl Control {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the command was cancelled.
    #[must_use]
    pub fn is_cancelled(&self, command: &CommandId) -> bool {
        self.shared().is_cancelled(command)
    }

    /// Whether the target is paused.
    #[must_use]
    pub fn is_paused(&self, target: &str) -> bool {
        self.shared().state.paused.contains(target)
    }

    /// A token that is cancelled when the command is cancelled, until [`Control::forget`].
    #[must_use]
    pub fn listen(&self, command: &CommandId) -> CancellationToken {
        let mut shared = self.shared();
        let token = CancellationToken::new();
        if shared.is_cancelled(command) {
            token.cancel();
        }
        shared.running.insert(command.clone(), token.clone());
        token
    }

    /// The command no longer runs in this process.
    pub fn forget(&self, command: &CommandId) {
        self.shared().running.remove(command);
    }

    /// Adds a cancellation, and stops the running commands that it applies to.
    pub fn cancel(&self, cancellation: Cancellation) {
        let mut shared = self.shared();
        for (command, token) in &shared.running {
            if cancellation.applies_to(command) {
                token.cancel();
            }
        }
        shared.state.cancelled.insert(cancellation);
    }

    /// Removes a cancellation that is no longer on the bus.
    pub fn withdraw(&self, cancellation: &Cancellation) {
        self.shared().state.cancelled.remove(cancellation);
    }

    /// Pauses or resumes a target.
    pub fn set_paused(&self, target: &str, paused: bool) {
        let mut shared = self.shared();
        if paused {
            shared.state.paused.insert(target.to_owned());
        } else {
            shared.state.paused.remove(target);
        }
    }

    /// Replaces the state in one step, so that at no time a paused target appears resumed or a cancelled command can start.
    pub fn replace(&self, state: ControlState) {
        let mut shared = self.shared();
        shared.state = state;
        for (command, token) in &shared.running {
            if shared.is_cancelled(command) {
                token.cancel();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(target: &str) -> CommandId {
        CommandId::new(&target.parse().unwrap(), &CommandKey::new("/test", "1"))
    }

    #[test]
    fn cancellation_of_one_target_does_not_replace_that_of_another() {
        let control = Control::default();
        let (dev, prod) = (command("dev"), command("prod"));
        let running = control.listen(&prod);
        control.cancel(Cancellation::from(&dev));
        assert!(!running.is_cancelled() && !control.is_cancelled(&prod));
        control.cancel(Cancellation::from(&prod));
        assert!(running.is_cancelled() && control.is_cancelled(&prod) && control.is_cancelled(&dev));
        control.withdraw(&Cancellation::from(&prod));
        assert!(!control.is_cancelled(&prod) && control.is_cancelled(&dev));
        control.cancel(Cancellation::of_all_targets(&prod.key));
        assert!(control.is_cancelled(&prod));
    }

    #[test]
    fn replaced_state_cancels_commands_and_drops_expired_entries() {
        let control = Control::default();
        control.set_paused("dev", true);
        let dev = command("dev");
        let running = control.listen(&dev);
        control.replace(ControlState { cancelled: [Cancellation::from(&dev)].into(), ..ControlState::default() });
        assert!(running.is_cancelled() && !control.is_paused("dev"));
    }
}
