//! Validates fault injection. Source: `validateHTTPFaultInjection`.

use super::super::report::{At, Report};

const GRPC: &[&str] = &[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

pub(super) fn check(fault: &At<'_, '_>, report: &mut Report<'_>) {
    if fault.is_null() {
        return;
    }
    let (abort, delay) = (fault.key("abort"), fault.key("delay"));
    if abort.is_null() && delay.is_null() {
        report.error(fault, "at least one of abort and delay is required");
    }
    if abort.is_set() {
        check_percentage(&abort.key("percentage"), report);
        let grpc = abort.key("grpcStatus");
        if grpc.is_set() {
            if !GRPC.contains(&grpc.text()) {
                report.error(&grpc, format_args!("{:?} is not a gRPC status such as NOT_FOUND", grpc.text()));
            }
        } else if abort.get("http2Error").is_set() {
            report.error(&abort.key("http2Error"), "HTTP/2 errors are not supported");
        } else if abort.get("httpStatus").is_set() {
            check_status(&abort.key("httpStatus"), report);
        } else {
            report.warning(&abort, "the abort has no effect without httpStatus or grpcStatus");
        }
    }
    if delay.is_set() {
        check_percentage(&delay.key("percentage"), report);
        report.duration(&delay.key("fixedDelay"));
        let exponential = delay.key("exponentialDelay");
        if exponential.is_set() {
            report.duration(&exponential);
            report.error(&exponential, "not supported; use fixedDelay");
        }
    }
}

pub(super) fn check_status(status: &At<'_, '_>, report: &mut Report<'_>) {
    if !(200..=600).contains(&status.int()) {
        report.error(status, format_args!("a status must be from 200 to 599, not {}", status.int()));
    }
}

/// Envoy's precision is one millionth.
fn check_percentage(percentage: &At<'_, '_>, report: &mut Report<'_>) {
    let value = percentage.key("value");
    let Some(number) = value.as_number() else { return };
    if !(0.0..=100.0).contains(&number) || (number > 0.0 && number < 0.0001) {
        report.error(&value, format_args!("a percentage must be 0, or from 0.0001 to 100, not {number}"));
    }
}
