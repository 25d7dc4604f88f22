//! The verbs for the page Send of the dashboard.

use super::deletions;
use crate::dashboard::{Catalog, Verb};
use crate::task::{DynTask, Registry};

/// All verbs of this version.
pub(super) fn catalog() -> Catalog {
    let registry = Registry::standard();
    let verb = |task: &dyn DynTask| {
        let (name, summary) = (task.verb().to_owned(), task.summary().to_owned());
        (name.clone(), Verb { name, summary, schema: task.params_schema(), example: task.example() })
    };
    Catalog {
        verbs: registry.iter().map(verb).collect(),
        deletes: |verb, params| deletions::of(verb, params).filter(|it| !it.depends).map(|it| it.what),
    }
}
