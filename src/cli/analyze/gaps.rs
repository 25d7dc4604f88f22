//! Notes on standard error about kinds of a cluster that could not be read.

use std::collections::BTreeSet;

use sailhand_analyze::notes::{SHOWN, some};

use super::live::Gaps;
use crate::cli::output::{self, BAD, GOOD, styled};
use crate::cluster::configuration::Unread;
use crate::prose::plural;

/// Kinds of a cluster that could not be read, and the effect. `left_out` rules need them.
pub(super) fn gaps(gaps: &Gaps, left_out: usize, namespaces: &[String]) {
    let (forbidden, others): (Vec<&Unread>, Vec<&Unread>) = gaps.unread.iter().partition(|one| one.is_forbidden());
    let unread = styled(BAD, "not read:");
    if !forbidden.is_empty() {
        let kinds: BTreeSet<&str> = forbidden.iter().map(|one| one.what.as_str()).collect();
        output::note(format_args!("{unread} kinds that these credentials may not list: {}", some(kinds.into_iter())));
    }
    for one in others.iter().take(SHOWN) {
        output::note(format_args!("{unread} {one}"));
    }
    if others.len() > SHOWN {
        output::note(format_args!("  and {}", plural(others.len() - SHOWN, "more kind")));
    }
    if left_out > 0 {
        output::note(format_args!("Skipped because of that: {}.", plural(left_out, "rule")));
    }
    if gaps.is_narrow {
        let names = namespaces.join(", ");
        output::note(format_args!("Only {names} could be read and were analyzed like files."));
    } else if !forbidden.is_empty() && namespaces.is_empty() {
        output::note(format_args!(
            "  {} use --only-namespace NAMESPACE to read only some namespaces.",
            styled(GOOD, "help:")
        ));
    }
}
