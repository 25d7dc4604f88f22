//! W3C trace context between spans, CloudEvents extensions and message headers.

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

struct Pair<'a> {
    traceparent: Option<&'a str>,
    tracestate: Option<&'a str>,
}

impl Extractor for Pair<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.traceparent,
            "tracestate" => self.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

struct Headers<'a>(&'a mut dyn FnMut(&str, String));

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        // The propagator writes an empty tracestate where there is none.
        if !value.is_empty() {
            (self.0)(key, value);
        }
    }
}

/// Makes `span` a child of the sender's span. Call straight after creating it.
pub fn set_parent(span: &Span, traceparent: Option<&str>, tracestate: Option<&str>) {
    if traceparent.is_some() {
        let context = TraceContextPropagator::new().extract(&Pair { traceparent, tracestate });
        if span.set_parent(context).is_err() {
            tracing::debug!("the span was read before it got its parent");
        }
    }
}

/// Passes the trace context of the current span to `set(name, value)`; calls nothing without a trace.
pub fn inject(set: &mut dyn FnMut(&str, String)) {
    let context = Span::current().context();
    if context.span().span_context().is_valid() {
        TraceContextPropagator::new().inject_context(&context, &mut Headers(set));
    }
}

/// The current span as `traceparent`; `None` when nothing is traced.
#[must_use]
pub fn current() -> Option<String> {
    let mut found = None;
    inject(&mut |name, value| {
        if name == "traceparent" {
            found = Some(value);
        }
    });
    found
}
