//! A verb as an argument: any text is taken, since a worker may know more verbs than this program, and completions
//! offer those that are known.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command, error};

use crate::task::Registry;

#[derive(Debug, Clone, Copy)]
pub(super) struct Parser;

impl TypedValueParser for Parser {
    type Value = String;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<String, error::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let registry = Registry::standard();
        let verbs: Vec<_> = registry.iter().map(|task| PossibleValue::new(task.verb()).help(task.summary())).collect();
        Some(Box::new(verbs.into_iter()))
    }
}
