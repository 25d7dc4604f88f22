//! Adds up what happened to each object, and judges the whole. Pure.

use super::{Action, Error, ObjectRef, ObjectReport, ObjectsReport};
use crate::error::{Class, Classify};

/// An error, and what was done before it.
pub type ObjectsFailure = Box<(Error, Option<ObjectsReport>)>;

/// A report in the making.
pub(super) struct ReportBuilder {
    report: ObjectsReport,
    failed: usize,
    first: Option<String>,
    /// Retry as long as a retry may help each failed object, with the longest requested delay.
    class: Class,
}

impl ReportBuilder {
    pub const fn new(report: ObjectsReport) -> Self {
        Self { report, failed: 0, first: None, class: Class::RETRY }
    }

    /// Whether an object has failed.
    pub const fn failed(&self) -> bool {
        self.failed > 0
    }

    pub fn push(&mut self, line: ObjectReport) {
        self.report.objects.push(line);
    }

    pub fn push_failed(&mut self, object: ObjectRef, error: &Error) {
        self.failed += 1;
        self.first.get_or_insert_with(|| error.to_string());
        self.class = match (self.class, error.class()) {
            (Class::Retry { after: a }, Class::Retry { after: b }) => Class::Retry { after: a.max(b) },
            _ => Class::Terminal,
        };
        self.push(ObjectReport::failed(object, error));
    }

    /// An error as soon as an object has failed.
    pub fn failure(&self) -> Result<(), Error> {
        match &self.first {
            None => Ok(()),
            Some(first) => Err(Error::SomeFailed {
                failed: self.failed,
                total: self.report.objects.len(),
                first: first.clone(),
                class: self.class,
            }),
        }
    }

    /// The report, with the error if there is one.
    pub fn finish(self, result: Result<(), Error>) -> Result<ObjectsReport, ObjectsFailure> {
        match result {
            Ok(()) => Ok(self.report),
            Err(error) => {
                let begun = !self.report.objects.is_empty();
                Err(Box::new((error, begun.then_some(self.report))))
            }
        }
    }
}

impl ObjectReport {
    /// A line without further explanation.
    pub(super) const fn new(object: ObjectRef, action: Action) -> Self {
        Self { object, action, reason: None, problem: None, diff: Vec::new() }
    }

    /// An object that was left alone.
    pub(super) fn skipped(object: ObjectRef, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::new(object, Action::Skipped) }
    }

    /// An object that failed.
    pub(super) fn failed(object: ObjectRef, error: &Error) -> Self {
        Self { problem: Some(crate::error::Problem::new(error)), ..Self::new(object, Action::Failed) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::ApiError;

    fn object() -> ObjectRef {
        ObjectRef { api_version: "v1".into(), kind: "ConfigMap".into(), namespace: None, name: "a".into() }
    }

    fn error(fault: ApiError) -> Error {
        Error::Request { verb: "apply", object: "ConfigMap a".into(), fault }
    }

    #[test]
    fn only_errors_that_a_retry_can_resolve_are_retried() {
        let mut report_builder = ReportBuilder::new(ObjectsReport::default());
        assert!(report_builder.failure().is_ok());
        let after = Some(Duration::from_secs(3));
        report_builder.push_failed(object(), &error(ApiError::Server("x".into())));
        report_builder.push_failed(object(), &error(ApiError::Overloaded { message: "x".into(), after }));
        assert_eq!(report_builder.failure().unwrap_err().class(), Class::Retry { after });
        report_builder.push_failed(object(), &error(ApiError::Refused("x".into())));
        report_builder.push_failed(object(), &error(ApiError::Server("x".into())));
        assert_eq!(report_builder.failure().unwrap_err().class(), Class::Terminal);
    }
}
