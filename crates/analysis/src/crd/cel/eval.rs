//! Evaluates CEL rules on values of an object.

use core::net::IpAddr;
use std::borrow::Cow;

use super::super::schema::{Schema, Schemas};
use super::parse::{Each, Expr, Function, Operator};
use super::value::CelValue;
use crate::Value;
use crate::syntax::{duration, url};

/// Maximum number of evaluation steps of a rule: far more than the API server's cost limit allows.
const STEPS: u32 = 5_000_000;

/// Why a rule has no result. The API server rejects an object for which a rule fails to evaluate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("no such field `{0}`")]
    NoSuchKey(String),
    #[error("wrong type of operand")]
    Type,
    #[error("conversion failed")]
    CelValue,
    /// A limit of sailhand; the API server has its own.
    #[error("too many evaluation steps")]
    Steps,
}

/// Evaluates a rule with `self` = `node`.
pub fn holds<'a>(expr: &'a Expr, node: &'a Value, schema: &'a Schema, schemas: &'a Schemas) -> Result<bool, Error> {
    let mut run = Run { schemas, variables: vec![CelValue::of(node, schema)], steps: STEPS };
    run.truth(expr)
}

struct Run<'a> {
    schemas: &'a Schemas,
    variables: Vec<CelValue<'a>>,
    steps: u32,
}

impl<'a> Run<'a> {
    fn truth(&mut self, expr: &'a Expr) -> Result<bool, Error> {
        match self.value(expr)? {
            CelValue::Bool(value) => Ok(value),
            _ => Err(Error::Type),
        }
    }

    fn value(&mut self, expr: &'a Expr) -> Result<CelValue<'a>, Error> {
        self.steps = self.steps.checked_sub(1).ok_or(Error::Steps)?;
        Ok(match expr {
            Expr::Null => CelValue::Null,
            Expr::Bool(value) => CelValue::Bool(*value),
            Expr::Int(value) => CelValue::Int(*value),
            Expr::Double(value) => CelValue::Double(*value),
            Expr::Text(text) => CelValue::Text(Cow::Borrowed(text)),
            Expr::Variable(at) => self.variables.get(*at).cloned().ok_or(Error::Type)?,
            Expr::List(items) => CelValue::List(items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?),
            Expr::Map(entries) => CelValue::Map(
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
                CelValue::Bool(target.field(name, self.schemas)?.is_some())
            }
            Expr::Index(target, index) => {
                let target = self.value(target)?;
                let index = self.value(index)?;
                target.index(&index, self.schemas)?
            }
            Expr::Not(expr) => CelValue::Bool(!self.truth(expr)?),
            Expr::Negate(expr) => match self.value(expr)? {
                CelValue::Int(value) => CelValue::Int(value.checked_neg().ok_or(Error::CelValue)?),
                CelValue::Double(value) => CelValue::Double(-value),
                _ => return Err(Error::Type),
            },
            Expr::Binary(operator, left, right) => self.binary(*operator, left, right)?,
            Expr::Choose(parts) => {
                let (condition, then, otherwise) = &**parts;
                if self.truth(condition)? { self.value(then)? } else { self.value(otherwise)? }
            }
            Expr::Call(function, arguments) => {
                let arguments: Vec<CelValue<'a>> =
                    arguments.iter().map(|argument| self.value(argument)).collect::<Result<_, _>>()?;
                call(*function, &arguments)?
            }
            Expr::Matches(target, regex) => CelValue::Bool(regex.is_match(self.value(target)?.text()?)),
            Expr::Each(each, parts) => self.each(*each, &parts.0, &parts.1)?,
        })
    }

    fn binary(&mut self, operator: Operator, left: &'a Expr, right: &'a Expr) -> Result<CelValue<'a>, Error> {
        if let Operator::And | Operator::Or = operator {
            // A deciding operand hides an error of the other one.
            let decides = operator == Operator::Or;
            let left = self.truth(left);
            if left == Ok(decides) {
                return Ok(CelValue::Bool(decides));
            }
            return match self.truth(right) {
                Ok(right) if right == decides => Ok(CelValue::Bool(decides)),
                right => left.and(right).map(CelValue::Bool),
            };
        }
        let left = self.value(left)?;
        let right = self.value(right)?;
        Ok(match operator {
            Operator::Equal => CelValue::Bool(left.equals(&right, self.schemas)),
            Operator::Unequal => CelValue::Bool(!left.equals(&right, self.schemas)),
            Operator::Less => CelValue::Bool(left.compare(&right)?.is_lt()),
            Operator::LessOrEqual => CelValue::Bool(left.compare(&right)?.is_le()),
            Operator::Greater => CelValue::Bool(left.compare(&right)?.is_gt()),
            Operator::GreaterOrEqual => CelValue::Bool(left.compare(&right)?.is_ge()),
            Operator::In => {
                let items = right.items(self.schemas)?;
                CelValue::Bool(items.iter().any(|item| item.equals(&left, self.schemas)))
            }
            Operator::And | Operator::Or => return Err(Error::Type),
            _ => arithmetic(operator, left, right)?,
        })
    }

    fn each(&mut self, each: Each, range: &'a Expr, body: &'a Expr) -> Result<CelValue<'a>, Error> {
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
                (Each::All, Ok(CelValue::Bool(false))) => return Ok(CelValue::Bool(false)),
                (Each::Exists, Ok(CelValue::Bool(true))) => return Ok(CelValue::Bool(true)),
                (Each::All | Each::Exists, Ok(CelValue::Bool(_)))
                | (Each::ExistsOne | Each::Filter, Ok(CelValue::Bool(false))) => {}
                (Each::ExistsOne, Ok(CelValue::Bool(true))) => count += 1,
                (Each::Filter, Ok(CelValue::Bool(true))) => kept.push(item),
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
                Each::All => CelValue::Bool(true),
                Each::Exists => CelValue::Bool(false),
                Each::ExistsOne => CelValue::Bool(count == 1),
                Each::Filter | Each::Map => CelValue::List(kept),
            }),
        }
    }
}

fn arithmetic<'a>(operator: Operator, left: CelValue<'a>, right: CelValue<'a>) -> Result<CelValue<'a>, Error> {
    Ok(match (operator, left, right) {
        (Operator::Add, CelValue::Text(a), CelValue::Text(b)) => CelValue::Text(Cow::Owned(a.into_owned() + &b)),
        (Operator::Add, CelValue::List(a), CelValue::List(b)) => CelValue::List(a.into_iter().chain(b).collect()),
        (_, CelValue::Int(a), CelValue::Int(b)) => CelValue::Int(
            match operator {
                Operator::Add => a.checked_add(b),
                Operator::Subtract => a.checked_sub(b),
                Operator::Multiply => a.checked_mul(b),
                Operator::Divide => a.checked_div(b),
                _ => a.checked_rem(b),
            }
            .ok_or(Error::CelValue)?,
        ),
        (Operator::Add, CelValue::Double(a), CelValue::Double(b)) => CelValue::Double(a + b),
        (Operator::Subtract, CelValue::Double(a), CelValue::Double(b)) => CelValue::Double(a - b),
        (Operator::Multiply, CelValue::Double(a), CelValue::Double(b)) => CelValue::Double(a * b),
        (Operator::Divide, CelValue::Double(a), CelValue::Double(b)) => CelValue::Double(a / b),
        (Operator::Add, CelValue::Duration(a), CelValue::Duration(b)) => {
            CelValue::Duration(a.checked_add(b).ok_or(Error::CelValue)?)
        }
        (Operator::Subtract, CelValue::Duration(a), CelValue::Duration(b)) => {
            CelValue::Duration(a.checked_sub(b).ok_or(Error::CelValue)?)
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
fn call<'a>(function: Function, arguments: &[CelValue<'a>]) -> Result<CelValue<'a>, Error> {
    let argument = |at: usize| arguments.get(at).ok_or(Error::Type);
    let first = argument(0)?;
    Ok(match function {
        Function::Size => CelValue::Int(i64::try_from(first.size()?).unwrap_or(i64::MAX)),
        Function::Contains => CelValue::Bool(first.text()?.contains(argument(1)?.text()?)),
        Function::StartsWith => CelValue::Bool(first.text()?.starts_with(argument(1)?.text()?)),
        Function::EndsWith => CelValue::Bool(first.text()?.ends_with(argument(1)?.text()?)),
        Function::Substring => {
            let text: Vec<char> = first.text()?.chars().collect();
            let bound = |value: &CelValue<'_>| match value {
                CelValue::Int(at) => usize::try_from(*at).ok().filter(|at| *at <= text.len()).ok_or(Error::CelValue),
                _ => Err(Error::Type),
            };
            let start = bound(argument(1)?)?;
            let end = arguments.get(2).map_or(Ok(text.len()), bound)?;
            if start > end {
                return Err(Error::CelValue);
            }
            CelValue::Text(Cow::Owned(text[start..end].iter().collect()))
        }
        Function::Split => {
            let separator = argument(1)?.text()?;
            CelValue::List(
                first.text()?.split(separator).map(|part| CelValue::Text(Cow::Owned(part.to_owned()))).collect(),
            )
        }
        Function::Int => match first {
            CelValue::Int(value) => CelValue::Int(*value),
            CelValue::Double(value) => CelValue::Int(*value as i64),
            CelValue::Text(text) => CelValue::Int(text.parse().map_err(|_| Error::CelValue)?),
            _ => return Err(Error::Type),
        },
        Function::Double => match first {
            CelValue::Int(value) => CelValue::Double(*value as f64),
            CelValue::Double(value) => CelValue::Double(*value),
            CelValue::Text(text) => CelValue::Double(text.parse().map_err(|_| Error::CelValue)?),
            _ => return Err(Error::Type),
        },
        Function::String => match first {
            CelValue::Text(_) => first.clone(),
            CelValue::Int(value) => CelValue::Text(Cow::Owned(value.to_string())),
            CelValue::Bool(value) => CelValue::Text(Cow::Owned(value.to_string())),
            _ => return Err(Error::Type),
        },
        Function::Duration => CelValue::Duration(duration::parse(first.text()?).ok_or(Error::CelValue)?),
        Function::IsUrl => CelValue::Bool(url::scheme(first.text()?, url::Form::Absolute).is_ok()),
        Function::Url => CelValue::Url(url::scheme(first.text()?, url::Form::Absolute).map_err(|_| Error::CelValue)?),
        Function::GetScheme => match first {
            CelValue::Url(scheme) => CelValue::Text(Cow::Owned(scheme.clone())),
            _ => return Err(Error::Type),
        },
        Function::IsIp => CelValue::Bool(first.text()?.parse::<IpAddr>().is_ok()),
    })
}
