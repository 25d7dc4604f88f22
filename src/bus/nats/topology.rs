//! Creates and updates streams as declared, or reports differences.

use async_nats::jetstream::consumer::{self, pull};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::Config;

use super::{NatsBus, migration};
use crate::bus::Error;
use crate::bus::topology::Topology;
use crate::clock::Clock;

/// What `apply` did with a stream or consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Stream or consumer.
    pub name: String,
    /// `created`, `updated`, `unchanged`, or `migrated`: its messages were moved, and it is created again.
    pub action: &'static str,
}

/// Creates what is missing and updates what differs. Deletes no stream, except the command stream of an earlier version
/// after its messages were moved (`migration`). A difference that the server cannot update (such as the retention of a
/// work queue) is an error that names it.
///
/// # Errors
/// The server's refusal, with the stream it is about.
pub async fn apply(bus: &NatsBus, topology: &Topology) -> Result<Vec<Applied>, Error> {
    let mut applied = Vec::new();
    if let Some(moved) = migration::split_command_stream(bus, topology).await? {
        let name = topology.subjects.command_stream();
        tracing::info!(stream = name, moved, "moved the messages of the earlier command stream to the waiting stream");
        applied.push(Applied { name, action: "migrated" });
    }
    let is_replaced = stream_config(bus, &topology.subjects.waiting_stream()).await?.is_some();
    for declared in &topology.streams {
        let action = match stream_config(bus, &declared.name).await? {
            None => {
                create_stream(bus, topology, declared, is_replaced).await?;
                "created"
            }
            Some(found) if Topology::stream_differences(declared, &found).is_empty() => "unchanged",
            Some(found) => {
                let stream = Config { first_sequence: found.first_sequence, ..declared.clone() };
                bus.context.update_stream(stream).await.map_err(|e| refused("update", &declared.name, e))?;
                "updated"
            }
        };
        applied.push(Applied { name: declared.name.clone(), action });
    }
    for (stream, declared) in &topology.consumers {
        let name = declared.durable_name.as_deref().unwrap_or_default();
        let action = match consumer_config(bus, stream, name).await? {
            None => "created",
            Some(found) if Topology::consumer_differences(declared, &found).is_empty() => "unchanged",
            Some(_) => "updated",
        };
        if action != "unchanged" {
            let consumer = bus.context.create_consumer_on_stream(declared.clone(), stream).await;
            consumer.map_err(|e| refused("create", name, e))?;
        }
        applied.push(Applied { name: format!("{stream}/{name}"), action });
    }
    Ok(applied)
}

/// Creates a stream. `is_replaced`: see [`Topology::first_sequence`].
pub(super) async fn create_stream(
    bus: &NatsBus,
    topology: &Topology,
    declared: &Config,
    is_replaced: bool,
) -> Result<(), Error> {
    let first_sequence = topology.first_sequence(&declared.name, Clock::system().now(), is_replaced);
    let stream = Config { first_sequence, ..declared.clone() };
    let Err(error) = bus.context.create_stream(stream).await else { return Ok(()) };
    // Another run has created the stream in the meantime: the request of an interrupted run may arrive late.
    match stream_config(bus, &declared.name).await? {
        Some(found) if Topology::stream_differences(declared, &found).is_empty() => Ok(()),
        _ => Err(refused("create", &declared.name, error)),
    }
}

/// Verifies the topology without writing.
///
/// # Errors
/// [`Error::Drift`] with all differences, or the error of a request.
pub async fn verify(bus: &NatsBus, topology: &Topology) -> Result<(), Error> {
    let mut differences = Vec::new();
    for declared in &topology.streams {
        match stream_config(bus, &declared.name).await? {
            None => differences.push(format!("stream {} is missing", declared.name)),
            Some(found) => differences.extend(Topology::stream_differences(declared, &found)),
        }
    }
    // A stream that does not exist has no consumer.
    if differences.is_empty() {
        for (stream, declared) in &topology.consumers {
            let name = declared.durable_name.as_deref().unwrap_or_default();
            match consumer_config(bus, stream, name).await? {
                None => differences.push(format!("consumer {name} of stream {stream} is missing")),
                Some(found) => differences.extend(Topology::consumer_differences(declared, &found)),
            }
        }
    }
    if differences.is_empty() { Ok(()) } else { Err(Error::Drift { differences }) }
}

pub(super) async fn stream_config(bus: &NatsBus, name: &str) -> Result<Option<Config>, Error> {
    match bus.context.get_stream(name).await {
        Ok(stream) => Ok(Some(stream.cached_info().config.clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(cause)
                if cause.error_code() == async_nats::jetstream::ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(None)
            }
            _ => Err(refused("look up", name, error)),
        },
    }
}

pub(super) async fn consumer_config(
    bus: &NatsBus,
    stream: &str,
    name: &str,
) -> Result<Option<consumer::Config>, Error> {
    use async_nats::jetstream::stream::ConsumerErrorKind;
    let found = bus.context.get_consumer_from_stream::<pull::Config, _, _>(name, stream).await;
    match found {
        Ok(consumer) => Ok(Some(consumer.cached_info().config.clone())),
        Err(error) => match error.kind() {
            ConsumerErrorKind::JetStream(cause)
                if cause.error_code() == async_nats::jetstream::ErrorCode::CONSUMER_NOT_FOUND =>
            {
                Ok(None)
            }
            _ => Err(refused("look up", name, error)),
        },
    }
}

pub(super) fn refused(
    operation: &'static str,
    subject: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::Request { operation, subject: subject.to_owned(), source: source.into() }
}
