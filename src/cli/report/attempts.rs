//! The failed attempts before the last one of a command.

use std::fmt::Write;

use crate::event::{EarlierAttempt, Outcome, ResultData};
use crate::prose::plural;

use super::super::output::{QUIET, styled};

/// A line for each attempt and each object that it wrote, for a command that did not succeed.
pub(super) fn text(result: &ResultData) -> String {
    let mut text = String::new();
    if result.outcome != Outcome::Succeeded {
        for attempt in &result.earlier_attempts {
            describe(attempt, &mut text);
        }
    }
    text
}

fn describe(attempt: &EarlierAttempt, text: &mut String) {
    let EarlierAttempt { attempt: number, worker, ended, problem, objects, objects_omitted } = attempt;
    let by = styled(QUIET, format_args!("({ended}, {worker})"));
    let _ = writeln!(text, "  attempt {number} failed: {} {} {by}", problem.code, problem.message);
    for one in objects {
        let _ = writeln!(text, "    {:<10} {}", one.action, one.object);
    }
    if *objects_omitted > 0 {
        let _ = writeln!(text, "    and {}", plural(*objects_omitted, "more object"));
    }
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
        result["outcome"] = json!("succeeded");
        assert_eq!(shown(result), "");
    }
}
