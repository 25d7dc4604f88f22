//! The bus for producers and observers: sends commands, reads events and results. Uses no code of workers and no Kubernetes
//! client. Reads with ordered consumers and direct gets, so an observer needs no write permission.

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
mod stored;
mod submit;
mod target;
mod watch;

use crate::bus::{Error as BusError, Subjects, nats};
use crate::config::Config;

pub use attachment::attachment;
pub use changes::{Change, Changes, History};
pub use command::StoredEvent;
pub use command_state::CommandState;
pub use dead_letter::{DeadLetter, DeadLetters, Filter};
pub use error::Error;
pub use list::{CommandSummary, ListFilter};
pub use queue::{Queue, QueueOptions, QueuedMessage};
pub use state::State;
pub use submit::Submitted;
pub use target::{Pause, TargetState};
pub use watch::{Observation, Observed, observation};

/// Default `source` of commands from the command line.
pub const SOURCE: &str = "urn:sailhand:cli";

/// A connection to the bus.
#[derive(Clone)]
pub struct Client {
    bus: nats::NatsBus,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When no server is reachable, the credentials cannot be used, or no server has `JetStream`.
    pub async fn connect(config: &Config) -> Result<Self, BusError> {
        let connection = nats::connect(&config.nats, "sailhand-client", false).await?;
        let bus = nats::NatsBus::new(connection, Subjects::of(&config.bus));
        if bus.has_jetstream().await {
            Ok(Self { bus })
        } else {
            Err(BusError::NoJetStream { url: config.nats.url.join(",") })
        }
    }

    /// The bus that the client uses.
    #[must_use]
    pub fn bus(&self) -> &nats::NatsBus {
        &self.bus
    }
}
