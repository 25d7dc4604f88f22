//! Fingerprints that identify findings across runs, for baselines and code scanning.

use std::collections::HashMap;

use sailhand_base::hex::hex;
use sha2::{Digest, Sha256};

use super::Finding;

/// Sets the fingerprint of each finding: a hash of the code, the object, the arguments (or the message, if there are
/// none) and the field without list indexes. Equal findings are numbered in their order.
pub fn mark(findings: &mut [Finding]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for finding in findings {
        let base = base(finding);
        let count = seen.entry(base.clone()).or_default();
        finding.fingerprint = if *count == 0 { base } else { format!("{base}-{count}") };
        *count += 1;
    }
}

fn base(finding: &Finding) -> String {
    let mut hash = Sha256::new();
    let object = &finding.object;
    let mut add = |part: &str| {
        hash.update(part.as_bytes());
        hash.update([0]);
    };
    for part in
        [finding.code.id, &object.cluster, object.kind.group(), object.kind.name(), &object.namespace, &object.name]
    {
        add(part);
    }
    add(&without_positions(&finding.field));
    if finding.arguments.is_empty() {
        add(&finding.message);
    } else {
        finding.arguments.iter().for_each(|argument| add(argument));
    }
    hex(&hash.finalize()[..8])
}

/// `a[0].b[12]` becomes `a[].b[]`; keys in brackets stay.
fn without_positions(field: &str) -> String {
    let mut kept = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('[') {
        kept = kept + before + "[";
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_indexes_do_not_affect_fingerprint() {
        assert_eq!(without_positions("spec.http[0].route[12].x"), "spec.http[].route[].x");
        assert_eq!(without_positions("metadata.annotations[\"a/1\"]"), "metadata.annotations[\"a/1\"]");
    }
}
