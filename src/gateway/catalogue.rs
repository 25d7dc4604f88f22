//! The verbs that the gateway accepts, with their schemas. A command that a worker would reject is refused at once.

use std::collections::BTreeMap;

use super::Error;
use super::refusal::Refusal;
use crate::event::params::ParamsValidator;
use crate::event::schema::Verb;
use crate::{event, suggest};

/// Characters of an unknown verb that an error repeats.
const NAMED: usize = 64;

/// Validators by verb.
pub(super) struct Catalogue {
    verbs: BTreeMap<&'static str, ParamsValidator>,
}

impl Catalogue {
    pub(super) fn new(verbs: &[Verb]) -> Result<Self, Error> {
        let compile = |verb: &Verb| {
            let validator = ParamsValidator::new(&verb.params);
            validator.map(|it| (verb.name, it)).map_err(|reason| Error::Schema { verb: verb.name, reason })
        };
        Ok(Self { verbs: verbs.iter().map(compile).collect::<Result<_, _>>()? })
    }

    /// The schema of a verb.
    pub(super) fn validator(&self, verb: &str) -> Result<&ParamsValidator, Refusal> {
        self.verbs.get(verb).ok_or_else(|| {
            let near = suggest::nearest(verb, self.verbs.keys().copied());
            let verb: String = verb.chars().take(NAMED).collect();
            let found = near.map_or_else(|| verb.clone(), |near| format!("{verb}; did you mean {near}?"));
            event::Error::UnknownType { found }.into()
        })
    }
}
