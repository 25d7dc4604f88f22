//! Regular expressions as the patterns that Istio's AuthorizationPolicy has: exact, prefix and suffix. An expression is
//! translated only where the patterns match exactly what the expression matches.

use std::fmt;

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Dot, Hir, HirKind, Look};

/// Longest expression, in bytes.
const MAX_LENGTH: usize = 1024;
/// Maximum number of patterns that one expression becomes.
const MAX_PATTERNS: usize = 32;

/// A pattern of an AuthorizationPolicy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pattern {
    /// Every value.
    Any,
    /// This value.
    Exact(String),
    /// Values that begin so.
    Prefix(String),
    /// Values that end so.
    Suffix(String),
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(text) => f.write_str(text),
            Self::Prefix(text) => write!(f, "{text}*"),
            Self::Suffix(text) => write!(f, "*{text}"),
        }
    }
}

/// The part of a text that an expression has to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    /// A beginning of the value: paths.
    Start,
    /// The whole value: headers.
    Both,
}

/// The patterns that match what the expression matches.
///
/// # Errors
/// A sentence that says why there are no such patterns.
pub(super) fn patterns(expression: &str, anchor: Anchor) -> Result<Vec<Pattern>, String> {
    if expression.len() > MAX_LENGTH {
        return Err(format!("the expression has {} bytes, more than {MAX_LENGTH}", expression.len()));
    }
    let parsed = ParserBuilder::new().nest_limit(32).build().parse(expression);
    let parsed = parsed.map_err(|_| format!("{expression:?} is not a valid regular expression"))?;
    let cannot = |what: &str| format!("{expression:?} {what}, which an AuthorizationPolicy cannot express");
    let ends = walk(&parsed, vec![Text::default()]).map_err(cannot)?;
    let mut found = ends.into_iter().map(|text| text.pattern(anchor)).collect::<Result<Vec<_>, _>>().map_err(cannot)?;
    found.sort();
    found.dedup();
    if found.first() == Some(&Pattern::Any) {
        found.truncate(1);
    }
    match found.as_slice() {
        [] => Err(format!("{expression:?} matches nothing")),
        patterns if patterns.iter().any(|pattern| !pattern.is_plain()) => Err(cannot("contains *, { or }")),
        _ => Ok(found),
    }
}

impl Pattern {
    /// Istio gives `*` and, in paths, `{…}` a meaning of their own. An empty text is no pattern.
    fn is_plain(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(text) | Self::Prefix(text) | Self::Suffix(text) => {
                !text.is_empty() && !text.contains(['*', '{', '}'])
            }
        }
    }
}

/// One way to match, as far as the expression was read.
#[derive(Debug, Clone, Default)]
struct Text {
    /// `.*` came first.
    after_any: bool,
    literal: String,
    tail: Tail,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Tail {
    /// More may come.
    #[default]
    Open,
    /// `.*` came last.
    Any,
    /// `$` came last.
    End,
}

type Cannot = &'static str;

impl Text {
    fn pattern(self, anchor: Anchor) -> Result<Pattern, Cannot> {
        let open_end = match (self.tail, anchor) {
            (Tail::Any, _) | (Tail::Open, Anchor::Start) => true,
            (Tail::End, _) | (Tail::Open, Anchor::Both) => false,
        };
        match (self.after_any, self.literal.is_empty(), open_end) {
            (_, true, true) | (true, true, false) => Ok(Pattern::Any),
            (false, _, true) => Ok(Pattern::Prefix(self.literal)),
            (false, _, false) => Ok(Pattern::Exact(self.literal)),
            (true, false, false) => Ok(Pattern::Suffix(self.literal)),
            (true, false, true) => Err("matches text in the middle of the value"),
        }
    }

    /// `None` when nothing can match any more.
    fn push(mut self, literal: &str) -> Result<Option<Self>, Cannot> {
        match self.tail {
            Tail::Open => {}
            Tail::End => return Ok(None),
            Tail::Any if self.literal.is_empty() => {
                self.after_any = true;
                self.tail = Tail::Open;
            }
            Tail::Any => return Err("matches any text between two parts"),
        }
        self.literal.push_str(literal);
        Ok(Some(self))
    }

    fn any(mut self) -> Self {
        if self.tail == Tail::Open {
            self.tail = Tail::Any;
        }
        self
    }

    fn end(mut self) -> Self {
        // `.*$` matches the same as `.*`.
        if self.tail == Tail::Open {
            self.tail = Tail::End;
        }
        self
    }
}

fn walk(expression: &Hir, texts: Vec<Text>) -> Result<Vec<Text>, Cannot> {
    let found = match expression.kind() {
        HirKind::Empty => texts,
        HirKind::Literal(literal) => {
            let literal = std::str::from_utf8(&literal.0).map_err(|_| "matches bytes that are not text")?;
            push_each(texts, &[literal.to_owned()])?
        }
        HirKind::Class(class) => push_each(texts, &characters(class)?)?,
        HirKind::Look(Look::Start) => {
            let begins = |text: &Text| text.literal.is_empty() && !text.after_any;
            if texts.iter().any(|text| begins(text) && text.tail == Tail::Any) {
                return Err("has ^ after .*");
            }
            texts.into_iter().filter(begins).collect()
        }
        HirKind::Look(Look::End) => texts.into_iter().map(Text::end).collect(),
        HirKind::Look(_) => return Err("uses word boundaries or line ends"),
        HirKind::Capture(capture) => walk(&capture.sub, texts)?,
        HirKind::Concat(parts) => parts.iter().try_fold(texts, |texts, part| walk(part, texts))?,
        HirKind::Alternation(parts) => {
            let mut found = Vec::new();
            for part in parts {
                found.extend(walk(part, texts.clone())?);
                check(&found)?;
            }
            found
        }
        HirKind::Repetition(repetition) => match (repetition.min, repetition.max) {
            (0, None) if is_dot(&repetition.sub) => texts.into_iter().map(Text::any).collect(),
            (0, Some(1)) => {
                let mut found = texts.clone();
                found.extend(walk(&repetition.sub, texts)?);
                found
            }
            (min, Some(max)) if min == max && min <= 64 => {
                (0..min).try_fold(texts, |texts, _| walk(&repetition.sub, texts))?
            }
            _ => return Err("repeats a part"),
        },
    };
    check(&found)?;
    Ok(found)
}

fn check(texts: &[Text]) -> Result<(), Cannot> {
    if texts.len() > MAX_PATTERNS { Err("stands for more than 32 alternatives") } else { Ok(()) }
}

fn push_each(texts: Vec<Text>, literals: &[String]) -> Result<Vec<Text>, Cannot> {
    let mut found = Vec::new();
    for text in texts {
        for literal in literals {
            found.extend(text.clone().push(literal)?);
        }
        check(&found)?;
    }
    Ok(found)
}

/// `.`, with or without the line break, which paths and headers cannot contain.
fn is_dot(expression: &Hir) -> bool {
    [Dot::AnyCharExceptLF, Dot::AnyChar].into_iter().any(|dot| *expression == Hir::dot(dot))
}

fn characters(class: &Class) -> Result<Vec<String>, Cannot> {
    const MANY: Cannot = "matches a set of characters";
    let Class::Unicode(class) = class else { return Err("matches bytes that are not text") };
    let mut found = Vec::new();
    for range in class.ranges() {
        if found.len() + range.len() > MAX_PATTERNS {
            return Err(MANY);
        }
        found.extend((range.start()..=range.end()).map(String::from));
    }
    Ok(found)
}
