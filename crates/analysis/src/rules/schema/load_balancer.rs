//! Validates load balancer settings. Source: `validateLoadBalancer`.

use std::collections::BTreeSet;

use super::locality;
use super::report::{At, Report};

/// `has_outliers`: whether the same policy has outlierDetection, which failover requires.
pub(super) fn check(settings: &At<'_, '_>, has_outliers: bool, report: &mut Report<'_>) {
    if settings.is_null() {
        return;
    }
    check_hash(&settings.key("consistentHash"), report);
    let (by_locality, by_zone) = (settings.key("localityLbSetting"), settings.key("zoneAwareLbSetting"));
    if by_locality.is_set() && by_zone.is_set() {
        report.error(settings, "localityLbSetting and zoneAwareLbSetting are mutually exclusive");
    }
    locality::check(&by_locality, has_outliers, report);
    locality::check_zone_aware(&by_zone, has_outliers, report);
    let warmup = settings.key("warmup");
    if warmup.is_set() {
        if warmup.get("duration").is_null() {
            report.error(&warmup, "duration is required");
        }
        report.duration(&warmup.key("duration"));
        let least = warmup.key("minimumPercent");
        if least.as_number().is_some_and(|percent| percent > 100.0) {
            report.error(&least, "must be at most 100");
        }
        let aggression = warmup.key("aggression");
        if aggression.as_number().is_some_and(|value| value <= 0.0) {
            report.error(&aggression, "must be greater than 0");
        }
    }
}

fn check_hash(hash: &At<'_, '_>, report: &mut Report<'_>) {
    if hash.is_null() {
        return;
    }
    let cookie = hash.key("httpCookie");
    if cookie.is_set() && !cookie.has("name") {
        report.error(&cookie, "a name is required");
    }
    let mut names = BTreeSet::new();
    let attributes = cookie.key("attributes");
    for attribute in attributes.each() {
        let name = attribute.node().get("name").text();
        if name.is_empty() {
            report.error(&attribute, "a name is required");
        } else if !names.insert(name) {
            report.error(&attribute, format_args!("duplicate attribute {name:?}"));
        }
    }
    let size = hash.key("minimumRingSize");
    if !size.is_empty() {
        report.warning(&size, "deprecated; use ringHash.minimumRingSize");
        if hash.get("ringHash").is_set() || hash.get("maglev").is_set() {
            report.error(&size, "must not be set together with ringHash or maglev");
        }
    }
    let maglev = hash.key("maglev");
    if maglev.is_set() {
        let size = maglev.key("tableSize");
        let number = u64::try_from(size.int()).unwrap_or_default();
        if number == 0 {
            report.error(&maglev, "tableSize is required");
        }
        if number >= 5_000_011 {
            report.error(&size, "must be less than 5000011");
        } else if !is_prime(number) {
            report.error(&size, format_args!("must be a prime number, but {number} is not"));
        }
    }
}

/// Primality as Envoy defines it, which accepts 1. Source: Envoy `source/common/common/utility.cc`.
fn is_prime(number: u64) -> bool {
    if number != 0 && number < 4 {
        return true;
    }
    if number.is_multiple_of(2) {
        return false;
    }
    (3..).step_by(2).take_while(|factor| factor * factor <= number).all(|factor| !number.is_multiple_of(factor))
}
