//! Logs, traces, metrics.

pub mod metrics;
mod propagation;

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{self, LogFormat};

pub use propagation::{current, inject, set_parent};

/// Keeps traces flowing; what is buffered is sent when [`Guard::flush`] is called.
#[must_use = "traces end when this is dropped"]
pub struct Guard(Option<SdkTracerProvider>);

impl Guard {
    /// Sends what is buffered. Blocks, a few seconds at most.
    pub fn flush(&self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!("the last traces were not sent: {error}");
        }
    }
}

/// Why logs or traces could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a tracing filter.
    #[error("telemetry.log_filter {filter:?} is not a filter")]
    Filter {
        /// Filter in the configuration.
        filter: String,
        /// Underlying error.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Not an OTLP endpoint.
    #[error("telemetry.otlp_endpoint {endpoint:?} cannot be used")]
    Endpoint {
        /// Endpoint in the configuration.
        endpoint: String,
        /// Underlying error.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
}

/// Starts logging to standard error and, where configured, sending traces. Call once, inside the runtime.
///
/// # Errors
/// A filter or endpoint that cannot be used.
pub fn start(telemetry: &config::Telemetry, default_filter: &str) -> Result<Guard, Error> {
    let filter = telemetry.log_filter.as_deref().unwrap_or(default_filter);
    let filter = EnvFilter::try_new(filter).map_err(|source| Error::Filter { filter: filter.to_owned(), source })?;
    let terminal = std::io::stderr().is_terminal();
    let format = telemetry.log_format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(terminal).with_target(false);
    let logs = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    };
    let provider = telemetry.otlp_endpoint.as_deref().map(provider).transpose()?;
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let traces =
        provider.as_ref().map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("sailhand")));
    let started = tracing_subscriber::registry().with(filter).with(logs).with(traces).try_init();
    if let Err(error) = started {
        tracing::debug!("logging was set up before: {error}");
    }
    Ok(Guard(provider))
}

fn provider(endpoint: &str) -> Result<SdkTracerProvider, Error> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|source| Error::Endpoint { endpoint: endpoint.to_owned(), source })?;
    let resource = Resource::builder().with_service_name("sailhand").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
