//! Checks the syntax of regular expressions that Envoy and Go accept. Nothing is compiled, so the cost of a malicious
//! expression is linear in its length.
//!
//! Source: <https://github.com/google/re2/wiki/Syntax>, with Go's limits (`regexp/syntax`): 1000 repetitions, 1000
//! levels.

use std::collections::BTreeSet;

const REPETITIONS: u32 = 1000;
const LEVELS: usize = 1000;

/// Validates an expression. `Err` is the reason why it is invalid.
pub fn check(pattern: &str) -> Result<(), String> {
    let mut reader = Reader { rest: pattern };
    let mut open = 0;
    let mut names = BTreeSet::new();
    // Whether there is an operand to repeat, and whether it is a repetition already.
    let (mut repeatable, mut repeated) = (false, false);
    while let Some(c) = reader.next() {
        let mut repeats = false;
        match c {
            '(' => {
                let group = reader.group(&mut names)?;
                if group {
                    open += 1;
                    if open > LEVELS {
                        return Err("groups are nested too deeply".to_owned());
                    }
                    repeatable = false;
                }
            }
            ')' => {
                if open == 0 {
                    return Err("unmatched `)`".to_owned());
                }
                open -= 1;
                repeatable = true;
            }
            '|' => repeatable = false,
            '*' | '+' | '?' => repeats = true,
            '{' => {
                repeats = reader.counts()?;
                repeatable |= !repeats;
            }
            '[' => {
                reader.class()?;
                repeatable = true;
            }
            '\\' => {
                reader.escape(false)?;
                repeatable = true;
            }
            _ => repeatable = true,
        }
        if repeats {
            if !repeatable {
                return Err(format!("missing operand for repetition `{c}`"));
            }
            reader.take('?');
            if repeated {
                return Err(format!("invalid nested repetition `{c}`"));
            }
        }
        repeated = repeats;
    }
    if open > 0 { Err("unmatched `(`".to_owned()) } else { Ok(()) }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn take(&mut self, c: char) -> bool {
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// After `(`: true if a group opens, false if only flags are set.
    fn group(&mut self, names: &mut BTreeSet<String>) -> Result<bool, String> {
        let Some(rest) = self.rest.strip_prefix('?') else { return Ok(true) };
        if let Some(named) = rest.strip_prefix("P<").or_else(|| rest.strip_prefix('<')) {
            if named.starts_with(['=', '!']) {
                return Err("look-behind is not supported".to_owned());
            }
            let (name, after) = named.split_once('>').ok_or("unterminated group name")?;
            if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
                return Err(format!("`{name}` is not a valid group name"));
            }
            if !names.insert(name.to_owned()) {
                return Err(format!("duplicate group name `{name}`"));
            }
            self.rest = after;
            return Ok(true);
        }
        if rest.starts_with(['=', '!']) {
            return Err("look-ahead is not supported".to_owned());
        }
        self.rest = rest;
        let (mut negative, mut some) = (false, false);
        while let Some(c) = self.next() {
            match c {
                'i' | 'm' | 's' | 'U' => some = true,
                '-' if !negative => (negative, some) = (true, false),
                ':' if !negative || some => return Ok(true),
                ')' if !negative || some => return Ok(false),
                _ => return Err(format!("`(?{c}` is not supported")),
            }
        }
        Err("unmatched `(`".to_owned())
    }

    /// After `{`: whether it is a repetition count; otherwise `{` is a literal.
    fn counts(&mut self) -> Result<bool, String> {
        let Some((inside, after)) = self.rest.split_once('}') else { return Ok(false) };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let plain = digits && (text == "0" || !text.starts_with('0'));
            plain.then(|| text.parse::<u32>().unwrap_or(u32::MAX))
        };
        let (low, high) = inside.split_once(',').unwrap_or((inside, inside));
        let Some(low) = number(low) else { return Ok(false) };
        let high = match number(high) {
            Some(high) => high,
            None if high.is_empty() => low,
            None => return Ok(false),
        };
        if low > REPETITIONS || high > REPETITIONS || low > high {
            return Err(format!("repetition count `{{{inside}}}` exceeds {REPETITIONS} or is reversed"));
        }
        self.rest = after;
        Ok(true)
    }

    /// After `[`.
    fn class(&mut self) -> Result<(), String> {
        const POSIX: &[&str] = &[
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper",
            "word", "xdigit",
        ];
        self.take('^');
        let mut first = true;
        loop {
            if !first && self.take(']') {
                return Ok(());
            }
            first = false;
            if let Some((name, after)) = self.rest.strip_prefix("[:").and_then(|rest| rest.split_once(":]")) {
                if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
                    return Err(format!("unknown character class `[:{name}:]`"));
                }
                self.rest = after;
                continue;
            }
            let Some(low) = self.member()? else { continue };
            let range = self.rest.strip_prefix('-').is_some_and(|rest| !rest.is_empty() && !rest.starts_with(']'));
            if range {
                self.take('-');
                let high = self.member()?.ok_or("a range must not end in a character class")?;
                if high < low {
                    return Err(format!("the range `{low}-{high}` is reversed"));
                }
            }
        }
    }

    /// One character of a class; none for a class of characters.
    fn member(&mut self) -> Result<Option<char>, String> {
        match self.next() {
            None => Err("unmatched `[`".to_owned()),
            Some('\\') => self.escape(true),
            Some(c) => Ok(Some(c)),
        }
    }

    /// After `\`: the literal character, if it is one.
    fn escape(&mut self, class: bool) -> Result<Option<char>, String> {
        let Some(c) = self.next() else { return Err("trailing `\\` at the end".to_owned()) };
        match c {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => Ok(None),
            'A' | 'z' | 'b' | 'B' if !class => Ok(None),
            'Q' if !class => {
                self.rest = self.rest.split_once("\\E").map_or("", |(_, after)| after);
                Ok(None)
            }
            'p' | 'P' => self.property().map(|()| None),
            'a' => Ok(Some('\u{7}')),
            'f' => Ok(Some('\u{c}')),
            't' => Ok(Some('\t')),
            'n' => Ok(Some('\n')),
            'r' => Ok(Some('\r')),
            'v' => Ok(Some('\u{b}')),
            'x' => self.hexadecimal().map(Some),
            '0'..='7' => {
                if c != '0' && !self.rest.starts_with(|c| matches!(c, '0'..='7')) {
                    return Err(format!("`\\{c}`: back-references are not supported"));
                }
                let mut code = c.to_digit(8).unwrap_or_default();
                for _ in 0..2 {
                    let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else { break };
                    self.next();
                    code = code * 8 + digit;
                }
                Ok(char::from_u32(code))
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(Some(c)),
            c => Err(format!("unknown escape `\\{c}`")),
        }
    }

    /// After `\p`.
    fn property(&mut self) -> Result<(), String> {
        let name = match self.next() {
            Some('{') => {
                let (name, after) = self.rest.split_once('}').ok_or("unterminated `\\p{`")?;
                self.rest = after;
                name.strip_prefix('^').unwrap_or(name).to_owned()
            }
            Some(c) => c.to_string(),
            None => String::new(),
        };
        let known = match name.as_bytes() {
            [one] => b"CLMNPSZ".contains(one),
            // Unicode scripts and categories; the set depends on the Unicode version.
            long => long.len() > 1 && long.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_'),
        };
        if known { Ok(()) } else { Err(format!("unknown Unicode class `\\p{{{name}}}`")) }
    }

    /// After `\x`.
    fn hexadecimal(&mut self) -> Result<char, String> {
        let digits: String = if self.take('{') {
            let (digits, after) = self.rest.split_once('}').ok_or("unterminated `\\x{`")?;
            self.rest = after;
            digits.to_owned()
        } else {
            self.next().into_iter().chain(self.next()).collect()
        };
        let code = u32::from_str_radix(&digits, 16).map_err(|_| format!("`\\x{digits}` is not a character"))?;
        if code > 0x10_FFFF {
            return Err(format!("`\\x{digits}` is not a character"));
        }
        // Go accepts surrogate halves, which never match.
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn valid_re2_is_accepted() {
        for pattern in [
            "",
            ".*",
            "^/a(b|c)?$",
            "a{2,3}?",
            "a{,3}",
            "{",
            "x{y}",
            "[[]",
            "[]a]",
            "[^]]",
            "[a-]",
            "[-a]",
            "[a&&b]",
            "a||b",
            "(?i)x",
            "(?i-s:x)",
            "(?P<n>x)",
            "(?<n>x)",
            "[[:alpha:]]",
            r"\Qa(\E*",
            r"\pL\p{Greek}\p{^Lu}",
            r"\x{10FFFF}\x41",
            r"\012",
            r"[\d.-]",
            r"\/\_\-",
            "^*",
            "()*",
            "a|b*",
            "(|a)*",
            r"\bx\B",
            "é+",
            "[é-ü]",
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn invalid_re2_is_rejected() {
        for pattern in [
            "(",
            ")",
            "*",
            "+a",
            "a**",
            "a|*",
            "(*)",
            "a{2}{3}",
            "{2}",
            "a{1001}",
            "a{3,2}",
            "[",
            "[]",
            "[a",
            "[b-a]",
            "(?=x)",
            "(?!x)",
            "(?<=x)",
            "(?<!x)",
            "(?P<n>a)(?P<n>b)",
            "(?P<>a)",
            "(?P=n)",
            "(?x)a",
            "(?",
            "(?i",
            r"\1",
            r"\8",
            r"\",
            r"\Z",
            r"\y",
            r"\C",
            "[[:nope:]]",
            r"\pX",
            r"\p{",
            r"\x{110000}",
            r"\xg1",
            r"[a-\d]",
            r"\uD800",
            "(?>a)",
        ] {
            assert!(check(pattern).is_err(), "{pattern}");
        }
    }
}
