//! Validates header names, and header values with Envoy's format commands. Source: `validation.go`,
//! `header_value_validator.go`.

use super::super::report::{At, Report};
use super::matches;

/// Characters of a token (RFC 9110).
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A header in a match: also a pseudo-header, or a JWT claim.
pub(super) fn check_match_name(at: &At<'_, '_>, name: &str, report: &mut Report<'_>) {
    const PSEUDO: [&str; 5] = [":method", ":scheme", ":authority", ":path", ":status"];
    if !is_token(name) && !matches::is_claim(name) && !PSEUDO.contains(&name) {
        report.error(at, format_args!("{name:?} is not a valid header name"));
    }
}

/// A header of a CORS policy, or `*`.
pub(super) fn check_cors_name(at: &At<'_, '_>, report: &mut Report<'_>) {
    if at.text() != "*" && !is_token(at.text()) {
        report.error(at, format_args!("{:?} is not a valid header name", at.text()));
    }
}

/// `:authority`, also known as `host`.
pub(super) fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host")
}

/// `headers` of a route or a destination.
pub(super) fn check_operations(headers: &At<'_, '_>, report: &mut Report<'_>) {
    for direction in ["request", "response"] {
        let operations = headers.key(direction);
        for operation in ["add", "set"] {
            for (name, value) in operations.key(operation).each_entry() {
                // The authority of a request may be set once; see `check_authority`.
                check_changed_name(&value, name, direction == "request", report);
                report.check(&value, check_value(value.text()));
            }
        }
        for name in operations.key("remove").each() {
            check_changed_name(&name, name.text(), false, report);
        }
    }
}

fn check_changed_name(at: &At<'_, '_>, name: &str, authority: bool, report: &mut Report<'_>) {
    if name.is_empty() {
        report.error(at, "the name of a header must not be empty");
    } else if (name.starts_with(':') || name.eq_ignore_ascii_case("host")) && !(authority && is_authority(name)) {
        report.error(at, format_args!("header {name} must not be modified here"));
    }
}

/// The authority may be set at most once, by `rewrite.authority` or as a header.
pub(super) fn check_authority(route: &At<'_, '_>, report: &mut Report<'_>) {
    let mut before = route.node().at("rewrite.authority").is_set() && !route.node().at("rewrite.authority").is_empty();
    let headers = route.key("headers");
    let request = headers.key("request");
    for operation in ["set", "add"] {
        for (name, value) in request.key(operation).each_entry().filter(|(name, _)| is_authority(name)) {
            if before {
                report.error(
                    &value,
                    format_args!(
                        "{name} sets the authority, which another field of this route sets \
                                                 too"
                    ),
                );
                return;
            }
            before = !value.text().is_empty();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Literal,
    Command,
    Arguments,
    Item,
    Text,
    AfterItem,
    AfterArguments,
    End,
}

/// Text with `%COMMAND%` and `%COMMAND(…)%`; `%%` is a literal percent sign.
fn check_value(value: &str) -> Result<(), String> {
    if value.chars().any(|c| (c < ' ' && c != '\t') || c == '\u{7f}') {
        return Err("a header value must not contain control characters".to_owned());
    }
    let mut state = State::Literal;
    let mut bytes = value.bytes().peekable();
    while let Some(b) = bytes.next() {
        state = match (state, b) {
            (State::Literal, b'%') => match bytes.peek() {
                None => return Err("unmatched `%`; use `%%` for a literal percent sign".to_owned()),
                Some(b'%') => {
                    bytes.next();
                    State::Literal
                }
                Some(_) => State::Command,
            },
            (State::Command | State::End, b'%') => State::Literal,
            (State::Command, b'(') => State::Arguments,
            (State::Arguments, b'[') | (State::AfterItem, b',') => State::Item,
            (State::Item, b'"') => State::Text,
            (State::Text, b'\\') => {
                if bytes.next().is_none() {
                    return Err("trailing `\\` at the end".to_owned());
                }
                State::Text
            }
            (State::Text | State::AfterArguments, b')') => State::End,
            (State::Text, b'"') => State::AfterItem,
            (State::AfterItem, b']') => State::AfterArguments,
            (State::Arguments, b) if b != b' ' => State::Text,
            (State::Literal | State::Command | State::Text, _) | (_, b' ') => state,
            _ => return Err(format!("unexpected `{}` in a format command of {value:?}", char::from(b))),
        };
    }
    if state == State::Literal { Ok(()) } else { Err(format!("unterminated format command in {value:?}")) }
}

#[cfg(test)]
mod tests {
    use super::check_value;

    #[test]
    fn format_commands() {
        for (value, expected) in [
            ("", true),
            ("plain\tx", true),
            ("100%%", true),
            ("%START_TIME%", true),
            ("%REQ(X-A)%", true),
            (r#"%PER_REQUEST_STATE(["a", "b"])%"#, true),
            ("%DYNAMIC_METADATA(com.x:y)%", true),
            ("100%", false),
            ("%START", false),
            ("%REQ(x%", false),
            (r#"%X(["a" b])%"#, false),
            ("%X(a)y%", false),
            ("a\nb", false),
        ] {
            assert_eq!(check_value(value).is_ok(), expected, "{value}");
        }
    }
}
