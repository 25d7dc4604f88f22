//! Parses CEL rules into expression trees. Independent of the values.
//!
//! Grammar and macros: <https://github.com/google/cel-spec/blob/master/doc/langdef.md>. Escaped names
//! (`__namespace__`): Kubernetes' documentation of `x-kubernetes-validations`.

use regex::Regex;

use super::lex::{self, Token};

/// Deepest nesting, levels. No rule comes near it; it protects the stack from malicious input.
const DEPTH: usize = 64;

/// An invalid CEL rule, or one that uses unsupported features.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("at character {at}: {text}")]
    Syntax { at: usize, text: String },
    /// Valid in the API server but not supported here.
    #[error("{0} is not supported")]
    Unsupported(String),
}

#[derive(Debug)]
pub enum Expr {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Box<str>),
    /// Index of a variable: 0 is `self`, then the variables of the enclosing macros.
    Variable(usize),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    Field(Box<Expr>, Box<str>),
    Has(Box<Expr>, Box<str>),
    Index(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    Choose(Box<(Expr, Expr, Expr)>),
    Call(Function, Vec<Expr>),
    /// `text.matches("…")` with a constant pattern.
    Matches(Box<Expr>, Box<Regex>),
    Each(Each, Box<(Expr, Expr)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Macros over a list or the keys of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Each {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Substring,
    Split,
    Int,
    Double,
    String,
    Duration,
    IsUrl,
    Url,
    GetScheme,
    IsIp,
}

/// A function by name; a method has its receiver as the first argument.
fn function(name: &str, arguments: usize, method: bool) -> Option<Function> {
    Some(match (name, arguments, method) {
        ("size", 1, _) => Function::Size,
        ("contains", 2, true) => Function::Contains,
        ("startsWith", 2, true) => Function::StartsWith,
        ("endsWith", 2, true) => Function::EndsWith,
        ("substring", 2 | 3, true) => Function::Substring,
        ("split", 2, true) => Function::Split,
        ("int", 1, false) => Function::Int,
        ("double", 1, false) => Function::Double,
        ("string", 1, false) => Function::String,
        ("duration", 1, false) => Function::Duration,
        ("isURL", 1, false) => Function::IsUrl,
        ("url", 1, false) => Function::Url,
        ("getScheme", 1, true) => Function::GetScheme,
        ("isIP", 1, false) => Function::IsIp,
        _ => return None,
    })
}

/// Expression tree of a rule whose only free variable is `self`.
pub fn parse(rule: &str) -> Result<Expr, Error> {
    let tokens = lex::tokens(rule)?;
    let mut parser = Parser { tokens, next: 0, depth: 0, variables: vec!["self".to_owned()], end: rule.len() };
    let expr = parser.expression()?;
    match parser.peek() {
        None => Ok(expr),
        Some(_) => Err(parser.wrong("expected the end of the rule")),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
    variables: Vec<String>,
    end: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(text)) if *text == symbol);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), Error> {
        if self.take(symbol) { Ok(()) } else { Err(self.wrong(&format!("expected `{symbol}`"))) }
    }

    fn wrong(&self, text: &str) -> Error {
        let at = self.tokens.get(self.next).map_or(self.end, |(at, _)| *at);
        Error::Syntax { at, text: text.to_owned() }
    }

    fn expression(&mut self) -> Result<Expr, Error> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.wrong("nested too deep"));
        }
        let condition = self.binary(0)?;
        let expr = if self.take("?") {
            let then = self.expression()?;
            self.expect(":")?;
            let otherwise = self.expression()?;
            Expr::Choose(Box::new((condition, then, otherwise)))
        } else {
            condition
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn binary(&mut self, level: usize) -> Result<Expr, Error> {
        const LEVELS: &[&[(&str, Operator)]] = &[
            &[("||", Operator::Or)],
            &[("&&", Operator::And)],
            &[
                ("==", Operator::Equal),
                ("!=", Operator::Unequal),
                ("<=", Operator::LessOrEqual),
                ("<", Operator::Less),
                (">=", Operator::GreaterOrEqual),
                (">", Operator::Greater),
                ("in", Operator::In),
            ],
            &[("+", Operator::Add), ("-", Operator::Subtract)],
            &[("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)],
        ];
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        'more: loop {
            for (symbol, operator) in *operators {
                if self.take(symbol) {
                    let right = self.binary(level + 1)?;
                    left = Expr::Binary(*operator, Box::new(left), Box::new(right));
                    continue 'more;
                }
            }
            return Ok(left);
        }
    }

    fn unary(&mut self) -> Result<Expr, Error> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.wrong("nested too deep"));
        }
        let expr = if self.take("!") {
            Expr::Not(Box::new(self.unary()?))
        } else if self.take("-") {
            Expr::Negate(Box::new(self.unary()?))
        } else {
            self.member()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn member(&mut self) -> Result<Expr, Error> {
        let mut expr = self.primary()?;
        loop {
            if self.take(".") {
                let name = self.name()?;
                expr =
                    if self.take("(") { self.method(expr, &name)? } else { Expr::Field(Box::new(expr), plain(&name)) };
            } else if self.take("[") {
                let index = self.expression()?;
                self.expect("]")?;
                expr = Expr::Index(Box::new(expr), Box::new(index));
            } else {
                return Ok(expr);
            }
        }
    }

    fn name(&mut self) -> Result<String, Error> {
        let Some(Token::Name(name)) = self.peek() else { return Err(self.wrong("expected a name")) };
        let name = name.clone();
        self.next += 1;
        Ok(name)
    }

    /// After `target.name(`.
    fn method(&mut self, target: Expr, name: &str) -> Result<Expr, Error> {
        let each = match name {
            "all" => Some(Each::All),
            "exists" => Some(Each::Exists),
            "exists_one" => Some(Each::ExistsOne),
            "filter" => Some(Each::Filter),
            "map" => Some(Each::Map),
            _ => None,
        };
        if let Some(each) = each {
            let variable = self.name()?;
            self.expect(",")?;
            self.variables.push(variable);
            let body = self.expression();
            self.variables.pop();
            let body = body?;
            self.expect(")")?;
            return Ok(Expr::Each(each, Box::new((target, body))));
        }
        let mut arguments = vec![target];
        self.arguments(&mut arguments)?;
        if name == "matches"
            && arguments.len() == 2
            && let Some(Expr::Text(pattern)) = arguments.pop()
            && let Some(target) = arguments.pop()
        {
            let regex = Regex::new(&pattern).map_err(|_| Error::Unsupported(format!("the pattern `{pattern}`")))?;
            return Ok(Expr::Matches(Box::new(target), Box::new(regex)));
        }
        let function = function(name, arguments.len(), true).ok_or_else(|| unknown(name))?;
        Ok(Expr::Call(function, arguments))
    }

    /// Arguments up to the closing parenthesis.
    fn arguments(&mut self, into: &mut Vec<Expr>) -> Result<(), Error> {
        if self.take(")") {
            return Ok(());
        }
        loop {
            into.push(self.expression()?);
            if self.take(")") {
                return Ok(());
            }
            self.expect(",")?;
        }
    }

    fn primary(&mut self) -> Result<Expr, Error> {
        let Some((_, token)) = self.tokens.get(self.next).cloned() else { return Err(self.wrong("expected a value")) };
        self.next += 1;
        Ok(match token {
            Token::Int(value) => Expr::Int(value),
            Token::Double(value) => Expr::Double(value),
            Token::Text(value) => Expr::Text(value.into()),
            Token::Name(name) => match name.as_str() {
                "true" => Expr::Bool(true),
                "false" => Expr::Bool(false),
                "null" => Expr::Null,
                _ if self.take("(") => self.global(&name)?,
                _ => match self.variables.iter().rposition(|known| *known == name) {
                    Some(position) => Expr::Variable(position),
                    None => return Err(Error::Unsupported(format!("the name `{name}`"))),
                },
            },
            Token::Symbol("(") => {
                let expr = self.expression()?;
                self.expect(")")?;
                expr
            }
            Token::Symbol("[") => {
                let mut items = Vec::new();
                while !self.take("]") {
                    items.push(self.expression()?);
                    if !self.take(",") {
                        self.expect("]")?;
                        break;
                    }
                }
                Expr::List(items)
            }
            Token::Symbol("{") => {
                let mut entries = Vec::new();
                while !self.take("}") {
                    let key = self.expression()?;
                    self.expect(":")?;
                    entries.push((key, self.expression()?));
                    if !self.take(",") {
                        self.expect("}")?;
                        break;
                    }
                }
                Expr::Map(entries)
            }
            Token::Symbol(_) => {
                self.next -= 1;
                return Err(self.wrong("expected a value"));
            }
        })
    }

    /// After `name(`.
    fn global(&mut self, name: &str) -> Result<Expr, Error> {
        let mut arguments = Vec::new();
        self.arguments(&mut arguments)?;
        if name == "has" {
            return match arguments.pop() {
                Some(Expr::Field(target, field)) if arguments.is_empty() => Ok(Expr::Has(target, field)),
                _ => Err(self.wrong("`has` requires a field")),
            };
        }
        let function = function(name, arguments.len(), false).ok_or_else(|| unknown(name))?;
        Ok(Expr::Call(function, arguments))
    }
}

fn unknown(name: &str) -> Error {
    Error::Unsupported(format!("the function `{name}`"))
}

/// Name of a property that is escaped because CEL reserves it.
fn plain(name: &str) -> Box<str> {
    let keyword = name.strip_prefix("__").and_then(|name| name.strip_suffix("__")).filter(|name| !name.is_empty());
    let name = match keyword {
        Some(keyword) if !keyword.contains("__") => keyword.to_owned(),
        _ => name
            .replace("__underscores__", "__")
            .replace("__dot__", ".")
            .replace("__dash__", "-")
            .replace("__slash__", "/"),
    };
    name.into()
}
