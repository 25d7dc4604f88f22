//! Evaluates CEL rules on values of an object.

use core::net::IpAddr;
use std::borrow::Cow;

use super::super::schema::{Schema, Schemas};
use super::parse::{Each, Expr, Function, Operator};
use super::value::Value;
use crate::Node;
use crate::syntax::{duration, url};

/// Most evaluation steps of a rule: far more than the API server's cost limit allows.
const STEPS: u32 = 5_000_000;

/// Why a rule has no result. The API server rejects an object for which a rule fails to evaluate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("no such field `{0}`")]
    NoSuchKey(String),
    #[error("wrong type of operand")]
    Type,
    #[error("conversion failed")]
    Value,
    /// A limit of sailhand; the API server has its own.
    #[error("too many evaluation steps")]
    Steps,
}

/// Evaluates a rule with `self` = `node`.
pub fn holds<'a>(expr: &'a Expr, node: &'a Node, schema: &'a Schema, schemas: &'a Schemas) -> Result<bool, Error> {
    let mut run = Run { schemas, variables: vec![Value::of(node, schema)], steps: STEPS };
    run.truth(expr)
}

struct Run<'a> {
    schemas: &'a Schemas,
    variables: Vec<Value<'a>>,
    steps: u32,
}

impl<'a> Run<'a> {
    fn truth(&mut self, expr: &'a Expr) -> Result<bool, Error> {
        match self.value(expr)? {
            Value::Bool(value) => Ok(value),
            _ => Err(Error::Type),
        }
    }

    fn value(&mut self, expr: &'a Expr) -> Result<Value<'a>, Error> {
        self.steps = self.steps.checked_sub(1).ok_or(Error::Steps)?;
        Ok(match expr {
            Expr::Null => Value::Null,
            Expr::Bool(value) => Value::Bool(*value),
            Expr::Int(value) => Value::Int(*value),
            Expr::Double(value) => Value::Double(*value),
            Expr::Text(text) => Value::Text(Cow::Borrowed(text)),
            Expr::Variable(at) => self.variables.get(*at).cloned().ok_or(Error::Type)?,
            Expr::List(items) => Value::List(items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?),
            Expr::Map(entries) => Value::Map(
                entries
                    .iter()
                    .map(|(key, value)| Ok((self.value(key)?, self.value(value)?)))
                    .collect::<Result<_, Error>>()?,
            ),
            Expr::Field(target, name) => {
                let target = self.value(target)?;
                target.field(name, self.schemas)?.ok_or_else(|| Error::NoSuchKey(name.to_string()))?
            }
            Expr::Has(target, name) => {
                let target = self.value(target)?;
                Value::Bool(target.field(name, self.schemas)?.is_some())
            }
            Expr::Index(target, index) => {
                let target = self.value(target)?;
                let index = self.value(index)?;
                target.index(&index, self.schemas)?
            }
            Expr::Not(expr) => Value::Bool(!self.truth(expr)?),
            Expr::Negate(expr) => match self.value(expr)? {
                Value::Int(value) => Value::Int(value.checked_neg().ok_or(Error::Value)?),
                Value::Double(value) => Value::Double(-value),
                _ => return Err(Error::Type),
            },
            Expr::Binary(operator, left, right) => self.binary(*operator, left, right)?,
            Expr::Choose(parts) => {
                let (condition, then, otherwise) = &**parts;
                if self.truth(condition)? { self.value(then)? } else { self.value(otherwise)? }
            }
            Expr::Call(function, arguments) => {
                let arguments: Vec<Value<'a>> =
                    arguments.iter().map(|argument| self.value(argument)).collect::<Result<_, _>>()?;
                call(*function, &arguments)?
            }
            Expr::Matches(target, regex) => Value::Bool(regex.is_match(self.value(target)?.text()?)),
            Expr::Each(each, parts) => self.each(*each, &parts.0, &parts.1)?,
        })
    }

    fn binary(&mut self, operator: Operator, left: &'a Expr, right: &'a Expr) -> Result<Value<'a>, Error> {
        if let Operator::And | Operator::Or = operator {
            // A deciding operand hides an error of the other one.
            let decides = operator == Operator::Or;
            let left = self.truth(left);
            if left == Ok(decides) {
                return Ok(Value::Bool(decides));
            }
            return match self.truth(right) {
                Ok(right) if right == decides => Ok(Value::Bool(decides)),
                right => left.and(right).map(Value::Bool),
            };
        }
        let left = self.value(left)?;
        let right = self.value(right)?;
        Ok(match operator {
            Operator::Equal => Value::Bool(left.equals(&right, self.schemas)),
            Operator::Unequal => Value::Bool(!left.equals(&right, self.schemas)),
            Operator::Less => Value::Bool(left.compare(&right)?.is_lt()),
            Operator::LessOrEqual => Value::Bool(left.compare(&right)?.is_le()),
            Operator::Greater => Value::Bool(left.compare(&right)?.is_gt()),
            Operator::GreaterOrEqual => Value::Bool(left.compare(&right)?.is_ge()),
            Operator::In => {
                let items = right.items(self.schemas)?;
                Value::Bool(items.iter().any(|item| item.equals(&left, self.schemas)))
            }
            Operator::And | Operator::Or => return Err(Error::Type),
            _ => arithmetic(operator, left, right)?,
        })
    }

    fn each(&mut self, each: Each, range: &'a Expr, body: &'a Expr) -> Result<Value<'a>, Error> {
        let items = self.value(range)?.items(self.schemas)?;
        let mut kept = Vec::new();
        let mut count = 0;
        let mut failed = None;
        for item in items {
            self.variables.push(item.clone());
            let result = self.value(body);
            self.variables.pop();
            match (each, result) {
                (_, Err(Error::Steps)) => return Err(Error::Steps),
                (Each::All, Ok(Value::Bool(false))) => return Ok(Value::Bool(false)),
                (Each::Exists, Ok(Value::Bool(true))) => return Ok(Value::Bool(true)),
                (Each::All | Each::Exists, Ok(Value::Bool(_)))
                | (Each::ExistsOne | Each::Filter, Ok(Value::Bool(false))) => {}
                (Each::ExistsOne, Ok(Value::Bool(true))) => count += 1,
                (Each::Filter, Ok(Value::Bool(true))) => kept.push(item),
                (Each::Map, Ok(value)) => kept.push(value),
                (Each::All | Each::Exists, Ok(_)) => failed = Some(Error::Type),
                (Each::All | Each::Exists, Err(error)) => failed = Some(error),
                (_, Ok(_)) => return Err(Error::Type),
                (_, Err(error)) => return Err(error),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(match each {
                Each::All => Value::Bool(true),
                Each::Exists => Value::Bool(false),
                Each::ExistsOne => Value::Bool(count == 1),
                Each::Filter | Each::Map => Value::List(kept),
            }),
        }
    }
}

fn arithmetic<'a>(operator: Operator, left: Value<'a>, right: Value<'a>) -> Result<Value<'a>, Error> {
    Ok(match (operator, left, right) {
        (Operator::Add, Value::Text(a), Value::Text(b)) => Value::Text(Cow::Owned(a.into_owned() + &b)),
        (Operator::Add, Value::List(a), Value::List(b)) => Value::List(a.into_iter().chain(b).collect()),
        (_, Value::Int(a), Value::Int(b)) => Value::Int(
            match operator {
                Operator::Add => a.checked_add(b),
                Operator::Subtract => a.checked_sub(b),
                Operator::Multiply => a.checked_mul(b),
                Operator::Divide => a.checked_div(b),
                _ => a.checked_rem(b),
            }
            .ok_or(Error::Value)?,
        ),
        (Operator::Add, Value::Double(a), Value::Double(b)) => Value::Double(a + b),
        (Operator::Subtract, Value::Double(a), Value::Double(b)) => Value::Double(a - b),
        (Operator::Multiply, Value::Double(a), Value::Double(b)) => Value::Double(a * b),
        (Operator::Divide, Value::Double(a), Value::Double(b)) => Value::Double(a / b),
        (Operator::Add, Value::Duration(a), Value::Duration(b)) => {
            Value::Duration(a.checked_add(b).ok_or(Error::Value)?)
        }
        (Operator::Subtract, Value::Duration(a), Value::Duration(b)) => {
            Value::Duration(a.checked_sub(b).ok_or(Error::Value)?)
        }
        _ => return Err(Error::Type),
    })
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "CEL's conversions between number \
                                                                                 types"
)]
fn call<'a>(function: Function, arguments: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let argument = |at: usize| arguments.get(at).ok_or(Error::Type);
    let first = argument(0)?;
    Ok(match function {
        Function::Size => Value::Int(i64::try_from(first.size()?).unwrap_or(i64::MAX)),
        Function::Contains => Value::Bool(first.text()?.contains(argument(1)?.text()?)),
        Function::StartsWith => Value::Bool(first.text()?.starts_with(argument(1)?.text()?)),
        Function::EndsWith => Value::Bool(first.text()?.ends_with(argument(1)?.text()?)),
        Function::Substring => {
            let text: Vec<char> = first.text()?.chars().collect();
            let bound = |value: &Value<'_>| match value {
                Value::Int(at) => usize::try_from(*at).ok().filter(|at| *at <= text.len()).ok_or(Error::Value),
                _ => Err(Error::Type),
            };
            let start = bound(argument(1)?)?;
            let end = arguments.get(2).map_or(Ok(text.len()), bound)?;
            if start > end {
                return Err(Error::Value);
            }
            Value::Text(Cow::Owned(text[start..end].iter().collect()))
        }
        Function::Split => {
            let separator = argument(1)?.text()?;
            Value::List(first.text()?.split(separator).map(|part| Value::Text(Cow::Owned(part.to_owned()))).collect())
        }
        Function::Int => match first {
            Value::Int(value) => Value::Int(*value),
            Value::Double(value) => Value::Int(*value as i64),
            Value::Text(text) => Value::Int(text.parse().map_err(|_| Error::Value)?),
            _ => return Err(Error::Type),
        },
        Function::Double => match first {
            Value::Int(value) => Value::Double(*value as f64),
            Value::Double(value) => Value::Double(*value),
            Value::Text(text) => Value::Double(text.parse().map_err(|_| Error::Value)?),
            _ => return Err(Error::Type),
        },
        Function::String => match first {
            Value::Text(_) => first.clone(),
            Value::Int(value) => Value::Text(Cow::Owned(value.to_string())),
            Value::Bool(value) => Value::Text(Cow::Owned(value.to_string())),
            _ => return Err(Error::Type),
        },
        Function::Duration => Value::Duration(duration::parse(first.text()?).ok_or(Error::Value)?),
        Function::IsUrl => Value::Bool(url::scheme(first.text()?, url::Form::Absolute).is_ok()),
        Function::Url => Value::Url(url::scheme(first.text()?, url::Form::Absolute).map_err(|_| Error::Value)?),
        Function::GetScheme => match first {
            Value::Url(scheme) => Value::Text(Cow::Owned(scheme.clone())),
            _ => return Err(Error::Type),
        },
        Function::IsIp => Value::Bool(first.text()?.parse::<IpAddr>().is_ok()),
    })
}
