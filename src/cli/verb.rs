//! A verb as an argument. Any text is accepted, because a worker may have verbs that this program does not know; completion
//! offers the known ones.

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
