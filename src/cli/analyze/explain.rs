//! What the rules say about themselves.

use std::path::Path;

use crate::analysis::report::pages;
use crate::analysis::rules;
use crate::cli::{Error, Exit, output};

/// One code, with its example.
pub(super) fn code(id: &str) -> Result<Exit, Error> {
    let codes = rules::codes();
    let code = codes.iter().find(|code| code.id.eq_ignore_ascii_case(id));
    let code = code.ok_or_else(|| Error::argument(format!("--explain {id}"), "no such code; see --list-rules"))?;
    let head = format!("{}[{}] {}: {}", code.level, code.id, code.name, code.title);
    output::line(output::styled(output::STRONG, head))?;
    output::line(format_args!("\n{}\n\n{}", code.why, code.remedy))?;
    output::line(format_args!("\nSource: {}\n\nBefore:\n", code.source))?;
    output::line(indented(code.example.before))?;
    output::line("\nAfter:\n")?;
    output::line(indented(code.example.after))?;
    Ok(Exit::Success)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// All rules with what they report.
pub(super) fn list() -> Result<Exit, Error> {
    for rule in rules::ALL {
        let codes: Vec<&str> = rule.codes.iter().map(|code| code.id).collect();
        output::line(format_args!("{:<56} {}", rule.name, codes.join(" ")))?;
    }
    Ok(Exit::Success)
}

/// The pages of `docs/rules`. Pages of codes that are no more are removed.
pub(super) fn write_docs(folder: &Path) -> Result<Exit, Error> {
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
    output::line(format_args!("{} pages in {}", pages.len(), folder.display()))?;
    Ok(Exit::Success)
}
