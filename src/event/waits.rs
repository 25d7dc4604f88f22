//! What a command waited for before an attempt, as its attempt record and its event `started` name it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::prose;

/// What a command waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WaitReason {
    /// The lease of its installation: another command of the same installation runs.
    Installation,
    /// A slot of a worker: other commands occupy those that the target may use.
    Slot,
    /// Memory of a worker for its parameters.
    Memory,
    /// The end of a pause of its target.
    Pause,
    /// NATS refuses results, so no command starts.
    Results,
}

/// How long a command waited for one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Waited {
    /// What it waited for.
    pub reason: WaitReason,
    /// The installation whose lease another command held; only with the reason `installation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installation: Option<String>,
    /// Milliseconds from the first check in which it could not start for this reason, to the first check without it.
    pub waited_ms: u64,
}

impl Waited {
    /// Duration and reason: `12 s for a free slot of a worker`.
    fn text(&self) -> String {
        let what = match self.reason {
            WaitReason::Installation => "another command of the installation",
            WaitReason::Slot => "a free slot of a worker",
            WaitReason::Memory => "free memory of a worker for its parameters",
            WaitReason::Pause => "the end of the pause of the target",
            WaitReason::Results => "NATS to accept results",
        };
        let name = self.installation.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        format!("{} for {what}{name}", prose::duration(self.waited_ms))
    }
}

/// What a command waited for, in one sentence without its subject: `waited 12 s for a free slot of a worker`. `None` when it
/// did not wait.
#[must_use]
pub fn waited_text(waited: &[Waited]) -> Option<String> {
    let texts: Vec<_> = waited.iter().map(Waited::text).collect();
    let (last, first) = texts.split_last()?;
    Some(if first.is_empty() { format!("waited {last}") } else { format!("waited {} and {last}", first.join(", ")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_one_sentence() {
        let waited = |reason, installation: Option<&str>, waited_ms| Waited {
            reason,
            installation: installation.map(str::to_owned),
            waited_ms,
        };
        let lease = waited(WaitReason::Installation, Some("shop"), 12_400);
        let slot = waited(WaitReason::Slot, None, 900);
        let pause = waited(WaitReason::Pause, None, 1_800_000);
        assert_eq!(waited_text(&[]), None);
        assert_eq!(
            waited_text(std::slice::from_ref(&lease)).as_deref(),
            Some("waited 12 s for another command of the installation shop")
        );
        assert_eq!(
            waited_text(&[lease, slot, pause]).as_deref(),
            Some(
                "waited 12 s for another command of the installation shop, 900 ms for a free slot of a worker and 30 min for \
                 the end of the pause of the target"
            )
        );
    }
}
