//! Documentation of codes and rules: `--explain`, `--list-rules`, `--write-docs`.

use std::path::Path;

use sailhand_analysis::report::pages;
use sailhand_analysis::{Code, rules};
use sailhand_base::error::Code as ErrorCode;
use sailhand_base::suggest;

use crate::{Error, Exit, output};

/// Prints one code with its example.
pub(crate) fn code(id: &str) -> Result<Exit, Error> {
    let code = known(&format!("--explain {id}"), id)?;
    let head = format!("{}[{}] {}: {}", code.level, code.id, code.name, code.title);
    let (why, remedy) = (output::broken(code.why), output::broken(code.remedy));
    output::line(output::styled(output::STRONG, output::broken(&head)))?;
    output::line(format_args!("\n{why}\n\n{remedy}\n"))?;
    if !code.also.is_empty() {
        output::line(format_args!("Also reported by {}.", code.also.join(", ")))?;
    }
    output::line(format_args!("Source: {}\n\nExample:\n", code.source))?;
    output::line(indented(code.example.before))?;
    output::line("\nFixed:\n")?;
    output::line(indented(code.example.after))?;
    Ok(Exit::Success)
}

/// Finds a code by its id, its name, or an equivalent id of Kiali.
pub(crate) fn known(argument: &str, word: &str) -> Result<&'static Code, Error> {
    let codes = rules::codes();
    let is_meant = |code: &&Code| {
        let names = [code.id, code.name].into_iter().chain(code.also.iter().copied());
        names.into_iter().any(|name| name.eq_ignore_ascii_case(word))
    };
    // Its own id first: several codes may have the same id of Kiali.
    let own = codes.iter().copied().find(|code| code.id.eq_ignore_ascii_case(word));
    own.or_else(|| codes.iter().copied().find(is_meant)).ok_or_else(|| {
        let names = codes.iter().flat_map(|code| [code.id, code.name]);
        let reason = match ErrorCode::ALL.iter().find(|code| code.as_str().eq_ignore_ascii_case(word)) {
            Some(code) => format!("{code} is the code of an error, not of a finding; see `sailhand explain {code}`"),
            None => unknown("code", word, names),
        };
        Error::argument(argument.to_owned(), reason)
    })
}

/// Error for an unknown code or rule.
pub(crate) fn unknown<'a>(what: &str, word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match suggest::nearest(word, known) {
        Some(near) => format!("unknown {what}; did you mean {near}?"),
        None => format!("unknown {what}; `--list-rules` lists all"),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Prints all rules with their codes.
pub(crate) fn list() -> Result<Exit, Error> {
    for rule in rules::ALL {
        output::line(output::styled(output::STRONG, rule.name))?;
        for code in rule.codes {
            output::line(format_args!("  {} {:<7} {}", code.id, code.level.to_string(), code.title))?;
        }
    }
    Ok(Exit::Success)
}

/// Writes the pages of `docs/rules` and deletes pages of removed codes.
pub(crate) fn write_docs(folder: &Path) -> Result<Exit, Error> {
    let failed = |what: &str, path: &Path| {
        let operation = format!("{what} {}", path.display());
        move |source| Error::local(operation, source)
    };
    std::fs::create_dir_all(folder).map_err(failed("make", folder))?;
    let pages = pages::pages();
    for entry in std::fs::read_dir(folder).map_err(failed("read", folder))?.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "md") && !pages.contains_key(&name) {
            std::fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
    }
    for (name, text) in &pages {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(failed("write", &path))?;
    }
    output::line(format_args!("wrote {} pages to {}", pages.len(), folder.display()))?;
    Ok(Exit::Success)
}
