//! Resolves the type of an unquoted scalar as `kubectl` does, which uses YAML 1.1 (sigs.k8s.io/yaml, `resolve.go`).
//! Pure.

use compact_str::CompactString;

use super::super::Value;

/// Value of a plain scalar.
pub fn resolve(text: &str) -> Value {
    let Some(first) = text.bytes().next() else { return Value::Null };
    let other = match first {
        b'0'..=b'9' | b'+' | b'-' | b'.' => number(text),
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => word(text),
        _ => None,
    };
    other.unwrap_or_else(|| Value::Str(CompactString::new(text)))
}

fn word(text: &str) -> Option<Value> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(Value::Bool(true)),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(Value::Bool(false))
        }
        "~" | "null" | "Null" | "NULL" => Some(Value::Null),
        _ => None,
    }
}

fn number(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(node) = special(text, unsigned) {
        return Some(node);
    }
    // Fast path for addresses, versions and dates: two dots, or a letter that no number contains.
    let mut dots = 0;
    for byte in unsigned.bytes() {
        match byte {
            b'0'..=b'9' | b'_' | b'a'..=b'f' | b'A'..=b'F' | b'x' | b'o' => {}
            b'.' => dots += 1,
            b'+' | b'-' if dots < 2 => {}
            _ => return None,
        }
    }
    if dots > 1 || !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let plain = if text.contains('_') { &*text.replace('_', "") } else { text };
    integer(plain).or_else(|| float(plain))
}

fn special(text: &str, unsigned: &str) -> Option<Value> {
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            Some(Value::Float(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }))
        }
        ".nan" | ".NaN" | ".NAN" if text == unsigned => Some(Value::Float(f64::NAN)),
        _ => None,
    }
}

fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', b'o', ..] => (8, &digits[2..]),
        [b'0', b'0'..=b'9', ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    let value = if negative { -value } else { value };
    i64::try_from(value).ok().map(Value::Int)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn float(text: &str) -> Option<Value> {
    let allowed = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let value: f64 = if allowed { text.parse().ok()? } else { return None };
    value.is_finite().then_some(Value::Float(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_resolve_as_in_kubectl() {
        let text = |text: &str| Value::string(text);
        let table = [
            ("", Value::Null),
            ("~", Value::Null),
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("yes", Value::Bool(true)),
            ("on", Value::Bool(true)),
            ("n", Value::Bool(false)),
            ("north", text("north")),
            ("0", Value::Int(0)),
            ("-12", Value::Int(-12)),
            ("+1", Value::Int(1)),
            ("0644", Value::Int(0o644)),
            ("0o17", Value::Int(15)),
            ("0x1F", Value::Int(31)),
            ("0b11", Value::Int(3)),
            ("1_000", Value::Int(1000)),
            ("1.5", Value::Float(1.5)),
            (".5", Value::Float(0.5)),
            ("1e3", Value::Float(1000.0)),
            ("089", Value::Float(89.0)),
            ("10.0.0.1", text("10.0.0.1")),
            ("1.28.3", text("1.28.3")),
            ("2026-11-24", text("2026-11-24")),
            ("10s", text("10s")),
            ("100m", text("100m")),
            ("1e", text("1e")),
            ("-", text("-")),
            (".", text(".")),
            ("...", text("...")),
            ("-foo", text("-foo")),
            ("0x", text("0x")),
            ("8080:80", text("8080:80")),
            ("1-2", text("1-2")),
            ("*", text("*")),
            ("nan", text("nan")),
            ("inf", text("inf")),
        ];
        for (written, meant) in table {
            assert_eq!(resolve(written), meant, "{written:?}");
        }
        assert_eq!(resolve("99999999999999999999"), Value::Float(1e20));
    }
}
