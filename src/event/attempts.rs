//! Earlier attempts of a command, as its attempt record and its result list them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Problem;

/// Maximum number of objects that an attempt lists. Further ones are counted in `objects_omitted`.
const MAX_OBJECTS: usize = 20;

/// Maximum number of attempts that are listed. By default a verb has at most 8.
const MAX_ATTEMPTS: usize = 16;

/// A failed attempt that was followed by another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EarlierAttempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// The worker that executed it.
    pub worker: String,
    /// When it ended, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub ended: String,
    /// Why it failed.
    pub problem: Problem,
    /// The objects that it wrote, deleted or failed to write, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<AttemptedObject>,
    /// Number of further objects that `objects` does not contain. Default: 0.
    #[serde(default, skip_serializing_if = "crate::omit::zero")]
    pub objects_omitted: usize,
}

/// What an attempt did with an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttemptedObject {
    /// Kind, namespace and name, such as `Deployment default/web`.
    pub object: String,
    /// `created`, `configured`, `recreated`, `pruned`, `deleted` or `failed`.
    pub action: String,
}

impl EarlierAttempt {
    /// With the first 20 of `objects`, in their order.
    #[must_use]
    pub fn new(attempt: u32, worker: &str, ended: String, problem: &Problem, objects: &[AttemptedObject]) -> Self {
        let listed = objects.len().min(MAX_OBJECTS);
        Self {
            attempt,
            worker: worker.to_owned(),
            ended,
            problem: problem.clone(),
            objects: objects[..listed].to_vec(),
            objects_omitted: objects.len() - listed,
        }
    }

    /// Adds this attempt to the list. A list of 16 loses its oldest attempt.
    pub fn add_to(self, attempts: &mut Vec<Self>) {
        if attempts.len() >= MAX_ATTEMPTS {
            attempts.remove(0);
        }
        attempts.push(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(number: u32, objects: usize) -> EarlierAttempt {
        let problem = Problem {
            code: "SH3001".to_owned(),
            class: "retry".to_owned(),
            message: "the API server does not answer".to_owned(),
            causes: Vec::new(),
            remedy: "wait".to_owned(),
        };
        let one =
            |number| AttemptedObject { object: format!("ConfigMap default/{number}"), action: "created".to_owned() };
        let objects: Vec<_> = (0..objects).map(one).collect();
        EarlierAttempt::new(number, "w", "2026-01-01T00:00:00Z".to_owned(), &problem, &objects)
    }

    #[test]
    fn objects_above_the_limit_are_counted() {
        let attempt = attempt(1, 25);
        assert_eq!((attempt.objects.len(), attempt.objects_omitted), (MAX_OBJECTS, 5));
    }

    #[test]
    fn a_full_list_drops_its_oldest_attempt() {
        let mut attempts = Vec::new();
        (1..=20).for_each(|number| attempt(number, 0).add_to(&mut attempts));
        assert_eq!(attempts.iter().map(|one| one.attempt).collect::<Vec<_>>(), (5..=20).collect::<Vec<_>>());
    }
}
