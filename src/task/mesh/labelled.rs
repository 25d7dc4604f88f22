//! Steps of one part, told with the part's name before them. Knows nothing of the parts.

use std::sync::Arc;

use crate::progress::{Progress, Step};

/// See the module.
pub(super) struct Labelled {
    label: String,
    inner: Arc<dyn Progress>,
}

impl Labelled {
    pub fn new(inner: &Arc<dyn Progress>, label: impl Into<String>) -> Self {
        Self { label: label.into(), inner: Arc::clone(inner) }
    }
}

impl Progress for Labelled {
    fn report(&self, step: Step) {
        self.inner.report(Step { message: format!("{}: {}", self.label, step.message), ..step });
    }
}
