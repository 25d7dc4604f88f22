//! The failed attempts before the last one of a command.

use std::collections::HashSet;
use std::fmt::Write;

use super::without_repetition;
use crate::cli::output::{self, QUIET, seconds, styled};
use crate::event::{EarlierAttempt, Outcome, ResultData};
use crate::prose::{self, plural};

/// A line for each attempt and each object that it wrote, for a command that did not succeed. Attempts behind each other
/// that failed in the same way have one line.
pub(super) fn text(result: &ResultData) -> String {
    let mut text = String::new();
    if result.outcome == Outcome::Succeeded {
        return text;
    }
    let alike = |a: &EarlierAttempt, b: &EarlierAttempt| {
        (&a.problem, &a.worker, &a.objects, a.objects_omitted) == (&b.problem, &b.worker, &b.objects, b.objects_omitted)
    };
    let mut explained = HashSet::new();
    for attempts in result.earlier_attempts.chunk_by(alike) {
        let ([first, ..], [.., last]) = (attempts, attempts) else { continue };
        let (begin, end) = (seconds(&first.ended), seconds(&last.ended));
        let (which, when) = if first.attempt == last.attempt {
            (format!("attempt {}", first.attempt), begin)
        } else {
            (format!("attempts {} to {}", first.attempt, last.attempt), format!("{begin} to {end}"))
        };
        let problem = &first.problem;
        let why = if explained.insert((&problem.code, &problem.message)) {
            format!("{} {}", problem.code, without_repetition(&problem.message, result.report.as_ref()))
        } else {
            "the same error".to_owned()
        };
        let by = styled(QUIET, format_args!("({when}, {})", first.worker));
        let line = prose::fold(&format!("{which} failed: {why} {by}"), 2, 4, output::width());
        let _ = writeln!(text, "  {line}");
        for one in &first.objects {
            let _ = writeln!(text, "    {:<10} {}", one.action, one.object);
        }
        if first.objects_omitted > 0 {
            let _ = writeln!(text, "    and {}", plural(first.objects_omitted, "more object"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn failed_command_shows_writes_of_earlier_attempts() {
        let mut result = json!({
            "outcome": "failed", "changed": true, "attempts": 2, "fence": 1, "worker": "w", "ended": "2026-01-31T12:00:09Z",
            "earlier_attempts": [{
                "attempt": 1, "worker": "w", "ended": "2026-01-31T12:00:00Z",
                "problem": {"code": "SH3009", "class": "retry", "message": "not ready", "remedy": ""},
                "objects": [{"object": "ConfigMap shop/a", "action": "created"}], "objects_omitted": 3,
            }],
        });
        let shown = |result| text(&serde_json::from_value::<ResultData>(result).unwrap());
        assert_eq!(
            anstream::adapter::strip_str(&shown(result.clone())).to_string(),
            "  attempt 1 failed: SH3009 not ready (2026-01-31T12:00:00Z, w)\n    created    ConfigMap shop/a\n    \
             and 3 more objects\n"
        );
        let again = |attempt: usize, second: usize| {
            let mut next = result["earlier_attempts"][0].clone();
            next["attempt"] = json!(attempt);
            next["ended"] = json!(format!("2026-01-31T12:00:0{second}.5Z"));
            next["objects"] = json!([]);
            next["objects_omitted"] = json!(0);
            next
        };
        let more = [again(2, 3), again(3, 7)];
        result["earlier_attempts"].as_array_mut().unwrap().extend(more);
        let text = anstream::adapter::strip_str(&shown(result.clone())).to_string();
        assert_eq!(
            text.lines().last(),
            Some("  attempts 2 to 3 failed: the same error (2026-01-31T12:00:03Z to 2026-01-31T12:00:07Z, w)")
        );
        result["outcome"] = json!("succeeded");
        assert_eq!(shown(result), "");
    }
}
