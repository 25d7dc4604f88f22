//! Progress steps of one component, with the name of the component as a prefix.

use std::sync::Arc;

use crate::progress::{Progress, Step};

/// Adds a prefix to the message of each step.
pub(super) struct PrefixedProgress {
    label: String,
    inner: Arc<dyn Progress>,
}

impl PrefixedProgress {
    pub fn new(inner: &Arc<dyn Progress>, label: impl Into<String>) -> Self {
        Self { label: label.into(), inner: Arc::clone(inner) }
    }
}

impl Progress for PrefixedProgress {
    fn report(&self, step: Step) {
        self.inner.report(Step { message: format!("{}: {}", self.label, step.message), ..step });
    }
}
