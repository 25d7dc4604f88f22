//! Objects of a report with the words for what was done to them.

use serde_json::Value;

use super::Tone;
use crate::cluster::{Action, ObjectReport};
use crate::error::Problem;

/// The words for what is done to objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// What was done: `created`.
    Done,
    /// What a dry run would do: `create`.
    Planned,
    /// How live objects differ from the desired ones: `missing`.
    Drift,
}

impl Words {
    /// The word for an action.
    #[must_use]
    pub const fn of(self, action: Action) -> &'static str {
        match (self, action) {
            (Self::Planned, Action::Created) => "create",
            (Self::Planned, Action::Configured) => "configure",
            (Self::Planned, Action::Recreated) => "recreate",
            (Self::Planned, Action::Pruned) => "prune",
            (Self::Planned, Action::Deleted) => "delete",
            (Self::Drift, Action::Created) => "missing",
            (Self::Drift, Action::Configured | Action::Recreated) => "differs",
            (Self::Drift, Action::Pruned | Action::Deleted) => "too much",
            (Self::Drift, Action::Failed) => "conflict",
            (_, action) => action.as_str(),
        }
    }

    /// The word for an action behind a number of objects: `2 created`, `2 to create`.
    fn counted(self, action: Action) -> String {
        let word = self.of(action);
        if self == Self::Planned && word != action.as_str() { format!("to {word}") } else { word.to_owned() }
    }

    /// The number of objects for each word, such as `2 created, 10 unchanged`.
    #[must_use]
    pub fn summary(self, objects: &[ObjectReport]) -> String {
        let mut counts: Vec<(Action, usize)> = Vec::new();
        for object in objects {
            match counts.iter_mut().find(|(action, _)| *action == object.action) {
                Some((_, count)) => *count += 1,
                None => counts.push((object.action, 1)),
            }
        }
        let parts: Vec<String> =
            counts.iter().map(|(action, count)| format!("{count} {}", self.counted(*action))).collect();
        parts.join(", ")
    }
}

/// Replaces `created` and the other words for what was done by those for what a dry run would do, down to this level.
pub fn name_plans(value: &mut Value, depth: usize) {
    match value {
        _ if depth == 0 => {}
        Value::Array(entries) => entries.iter_mut().for_each(|entry| name_plans(entry, depth - 1)),
        Value::Object(fields) => {
            for (name, field) in fields {
                let done: Option<Action> =
                    (name == "action").then(|| serde_json::from_value(field.clone()).ok()).flatten();
                match done {
                    Some(done) => *field = Words::Planned.of(done).into(),
                    None => name_plans(field, depth - 1),
                }
            }
        }
        _ => {}
    }
}

/// A field of an object with its old and its new value; `None` where the field does not exist.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Path of the field.
    pub path: String,
    /// The old value.
    pub from: Option<Value>,
    /// The new value.
    pub to: Option<Value>,
}

/// One object.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectLine {
    /// The action.
    pub word: &'static str,
    /// Its emphasis.
    pub tone: Tone,
    /// Kind, namespace and name.
    pub object: String,
    /// Why; empty without a reason.
    pub reason: String,
    /// The error.
    pub problem: Option<Problem>,
    /// Changed fields.
    pub changes: Vec<Change>,
    /// Whether nothing was done to it.
    pub is_unchanged: bool,
}

/// Objects in the order of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Objects {
    /// The objects.
    pub lines: Vec<ObjectLine>,
    /// The number of objects for each word.
    pub summary: String,
}

impl Objects {
    /// The objects of a report.
    #[must_use]
    pub fn of(words: Words, objects: &[ObjectReport]) -> Self {
        Self { lines: objects.iter().map(|object| line(words, object)).collect(), summary: words.summary(objects) }
    }
}

fn line(words: Words, object: &ObjectReport) -> ObjectLine {
    let change =
        |it: &crate::cluster::FieldChange| Change { path: it.path.clone(), from: it.from.clone(), to: it.to.clone() };
    ObjectLine {
        word: words.of(object.action),
        tone: match object.action {
            Action::Created | Action::Configured | Action::Recreated => Tone::Good,
            Action::Pruned | Action::Deleted | Action::Skipped => Tone::Changed,
            Action::Failed => Tone::Bad,
            Action::Unchanged | Action::Absent => Tone::Quiet,
        },
        object: object.object.to_string(),
        reason: object.reason.clone().unwrap_or_default(),
        problem: object.problem.clone(),
        changes: object.diff.iter().map(change).collect(),
        is_unchanged: object.action == Action::Unchanged,
    }
}
