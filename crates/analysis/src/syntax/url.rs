//! Validates URLs as Go's `net/url` does, and returns their scheme. Istio's validation and CEL in the API server both
//! use that parser, which is less strict than the URL standard.

/// Whether relative references are valid too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Accepts what `url.Parse` does.
    Any,
    /// Accepts what `url.ParseRequestURI` does: an absolute URL or an absolute path.
    Absolute,
}

/// The scheme in lower case, empty if there is none. `Err` is the reason why the URL is invalid.
pub fn scheme(text: &str, form: Form) -> Result<String, String> {
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err("control characters are not allowed".to_owned());
    }
    let text = if form == Form::Any { text.split_once('#').map_or(text, |(text, _)| text) } else { text };
    if text.is_empty() {
        return if form == Form::Any { Ok(String::new()) } else { Err("it is empty".to_owned()) };
    }
    if text == "*" {
        return Ok(String::new());
    }
    let (scheme, rest) = split_scheme(text)?;
    let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
    let scheme = scheme.to_ascii_lowercase();
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            return Ok(scheme);
        }
        if form == Form::Absolute {
            return Err("it has neither a scheme nor an absolute path".to_owned());
        }
        if rest.split('/').next().is_some_and(|first| first.contains(':')) {
            return Err("the first path segment must not contain a colon".to_owned());
        }
    }
    let authority =
        rest.strip_prefix("//").filter(|rest| !scheme.is_empty() || (form == Form::Any && !rest.starts_with('/')));
    let path = match authority {
        Some(rest) => {
            let end = rest.find('/').unwrap_or(rest.len());
            check_authority(&rest[..end])?;
            &rest[end..]
        }
        None => rest,
    };
    check_escapes(path)?;
    Ok(scheme)
}

fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, b) in text.bytes().enumerate() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("the scheme is missing before `:`".to_owned()),
            b':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn check_authority(authority: &str) -> Result<(), String> {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if let Some(c) = user.chars().find(|c| !c.is_ascii_alphanumeric() && !"-._:~!$&'()*+,;=%@".contains(*c)) {
        return Err(format!("`{c}` is not allowed before the `@`"));
    }
    check_escapes(user)?;
    let (name, port) = if let Some(inside) = host.strip_prefix('[') {
        inside.rsplit_once(']').ok_or("unmatched `[` in the host")?
    } else {
        host.rsplit_once(':').map_or((host, ""), |(name, _)| (name, &host[name.len()..]))
    };
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit())) {
        return Err(format!("`{port}` is not a port"));
    }
    if let Some(c) =
        name.chars().find(|c| c.is_ascii() && !c.is_ascii_alphanumeric() && !"-_.~!$&'()*+,;=:[]<>\"%".contains(*c))
    {
        return Err(format!("`{c}` is not allowed in a host"));
    }
    check_escapes(name)
}

fn check_escapes(text: &str) -> Result<(), String> {
    for part in text.split('%').skip(1) {
        if !(part.len() >= 2 && part.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit)) {
            return Err("`%` must be followed by two hexadecimal digits".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Form, scheme};

    #[test]
    fn absolute_url_has_scheme_or_path() {
        for (text, expected) in [
            ("http://example.com/x", Some("http")),
            ("OCI://registry/x:1", Some("oci")),
            ("/path", Some("")),
            ("file:///x", Some("file")),
            ("example.com/x", None),
            ("", None),
            ("registry:5000/x", Some("registry")),
            ("http://a:b/", None),
            ("http://[::1]:80/", Some("http")),
            ("http://a b/", None),
            ("/%zz", None),
            ("http://#%blah$#@", None),
            (":x", None),
        ] {
            assert_eq!(scheme(text, Form::Absolute).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn relative_url_needs_no_scheme() {
        assert_eq!(scheme("example.com/x", Form::Any).as_deref(), Ok(""));
        assert!(scheme("1a:b/x", Form::Any).is_err());
    }
}
