//! The other side of the bus: what a producer sends and an observer reads. Knows commands and events, and nothing of
//! workers or Kubernetes. Reads with ordered consumers and direct gets only, so an observer needs no right to write.

mod attachment;
mod changes;
mod command;
mod command_state;
mod dead_letter;
mod error;
mod list;
mod queue;
mod resolve;
mod state;
mod submit;
mod target;
mod watch;

use crate::bus::{Error as BusError, Subjects, nats};
use crate::config::Config;

pub use attachment::attachment;
pub use changes::{Change, Changes, History};
pub use command::StoredEvent;
pub use command_state::CommandState;
pub use dead_letter::{DeadLetter, Filter};
pub use error::Error;
pub use list::{CommandSummary, ListFilter};
pub use queue::{Queue, QueueOptions, QueuedMessage};
pub use state::State;
pub use submit::Submitted;
pub use target::{Pause, TargetState};
pub use watch::{Observation, Observed, observation};

/// `source` of commands from the command line, unless told otherwise.
pub const SOURCE: &str = "urn:sailhand:cli";

/// A connection to the bus.
#[derive(Clone)]
pub struct Client {
    bus: nats::NatsBus,
}

impl Client {
    /// Connects, and fails when no server answers.
    ///
    /// # Errors
    /// An unreachable server, or credentials that cannot be used.
    pub async fn connect(config: &Config) -> Result<Self, BusError> {
        let connection = nats::connect(&config.nats, "sailhand-client", false).await?;
        Ok(Self { bus: nats::NatsBus::new(connection, Subjects::of(&config.bus)) })
    }

    /// The bus below.
    #[must_use]
    pub fn bus(&self) -> &nats::NatsBus {
        &self.bus
    }
}
