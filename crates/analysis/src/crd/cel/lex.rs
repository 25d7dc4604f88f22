//! Tokenizes CEL rules. Independent of the grammar.

use super::parse::Error;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Int(i64),
    Double(f64),
    Text(String),
    Name(String),
    /// Operators; `in` is one too.
    Symbol(&'static str),
}

/// Sorted by length, the longest first.
const SYMBOLS: &[&str] = &[
    "||", "&&", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")", "[", "]",
    "{", "}",
];

/// Tokens with their offsets in the text.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Error> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (token, length) = if let Some(found) = string(rest, at)? {
            found
        } else if c.is_ascii_digit() {
            number(rest, at)?
        } else if c.is_ascii_alphabetic() || c == '_' {
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let word = &rest[..length];
            (if word == "in" { Token::Symbol("in") } else { Token::Name(word.to_owned()) }, length)
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            (Token::Symbol(symbol), symbol.len())
        } else {
            return Err(Error::Syntax { at, text: format!("unexpected `{c}`") });
        };
        tokens.push((at, token));
        at += length;
    }
    Ok(tokens)
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), Error> {
    let mut length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let fraction = rest[length..].strip_prefix('.').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if let Some(fraction) = fraction {
        length += 1 + fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
        let value = rest[..length].parse().map_err(|_| Error::Syntax { at, text: "invalid number".to_owned() })?;
        return Ok((Token::Double(value), length));
    }
    let value = rest[..length].parse().map_err(|_| Error::Syntax { at, text: "number out of range".to_owned() })?;
    Ok((Token::Int(value), length))
}

/// A string with any of CEL's quotes, and its length in the source text.
fn string(rest: &str, at: usize) -> Result<Option<(Token, usize)>, Error> {
    let (raw, body) = match rest.strip_prefix(['r', 'R']) {
        Some(body) if body.starts_with(['"', '\'']) => (true, body),
        _ => (false, rest),
    };
    let Some(quote) = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| body.starts_with(quote)) else {
        return Ok(None);
    };
    let prefix = rest.len() - body.len() + quote.len();
    let mut value = String::new();
    let mut chars = rest[prefix..].char_indices();
    while let Some((offset, c)) = chars.next() {
        if rest[prefix + offset..].starts_with(quote) {
            return Ok(Some((Token::Text(value), prefix + offset + quote.len())));
        }
        if c != '\\' || raw {
            value.push(c);
            continue;
        }
        let wrong = || Error::Syntax { at: at + prefix + offset, text: "unknown escape".to_owned() };
        let (_, escaped) = chars.next().ok_or_else(wrong)?;
        value.push(match escaped {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '\\' | '"' | '\'' | '`' | '?' => escaped,
            'x' | 'u' => {
                let digits = if escaped == 'x' { 2 } else { 4 };
                let code: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                u32::from_str_radix(&code, 16).ok().and_then(char::from_u32).ok_or_else(wrong)?
            }
            _ => return Err(wrong()),
        });
    }
    Err(Error::Syntax { at, text: "unterminated string".to_owned() })
}
