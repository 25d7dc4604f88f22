//! Notes about what could not be read of a cluster, on standard error.

use std::collections::BTreeSet;

use sailhand_analyze::notes::{SHOWN, some};

use super::live::Gaps;
use crate::cli::output::{self, BAD, GOOD, styled};
use crate::cluster::configuration::Unread;

/// What could not be read of a cluster, and what follows from that. `left_out` rules need it.
pub(super) fn gaps(gaps: &Gaps, left_out: usize, namespaces: &[String]) {
    let (forbidden, others): (Vec<&Unread>, Vec<&Unread>) = gaps.unread.iter().partition(|one| one.is_forbidden());
    let unread = styled(BAD, "not read:");
    if !forbidden.is_empty() {
        let kinds: BTreeSet<&str> = forbidden.iter().map(|one| one.what.as_str()).collect();
        output::note(format_args!("{unread} what these credentials may not list: {}", some(kinds.into_iter())));
    }
    for one in others.iter().take(SHOWN) {
        output::note(format_args!("{unread} {one}"));
    }
    if others.len() > SHOWN {
        output::note(format_args!("  and {} more kinds", others.len() - SHOWN));
    }
    if left_out > 0 {
        output::note(format_args!("{left_out} rules need that and say nothing."));
    }
    if gaps.is_narrow {
        let names = namespaces.join(", ");
        output::note(format_args!("Only what is in {names} could be read; it is judged as a folder of files is."));
    } else if !forbidden.is_empty() && namespaces.is_empty() {
        output::note(format_args!("  {} -n NAMESPACE reads what may be read there.", styled(GOOD, "help:")));
    }
}
