//! How likely a check of shares is wrong. Envoy picks the cluster of each request at random by weight, so the number of
//! answers of one backend follows the binomial distribution.

/// Probability that a sample of `count` requests shows every share within `tolerance` percentage points, when each
/// request goes to backend `i` with probability `actual[i]`. For two backends it is exact; for more it is the smallest
/// probability of a single backend, an upper bound.
#[must_use]
pub fn accepted(count: u32, expected: &[f64], actual: &[f64], tolerance: f64) -> f64 {
    expected
        .iter()
        .zip(actual)
        .map(|(expected, actual)| within(count, *expected, *actual, tolerance))
        .fold(1.0, f64::min)
}

/// Probability that a conforming data plane fails the check in every one of `tries` samples. For more than two backends
/// an upper bound: the sum over all backends.
#[must_use]
pub fn false_fail(count: u32, expected: &[f64], tolerance: f64, tries: i32) -> f64 {
    let rejected = |share: &f64| 1.0 - within(count, *share, *share, tolerance);
    let sum = if expected.len() == 2 { rejected(&expected[0]) } else { expected.iter().map(rejected).sum() };
    sum.clamp(0.0, 1.0).powi(tries)
}

/// Probability that a data plane with the shares `actual` passes the check in one of `tries` samples, an upper bound.
#[must_use]
pub fn false_pass(count: u32, expected: &[f64], actual: &[f64], tolerance: f64, tries: u32) -> f64 {
    (accepted(count, expected, actual, tolerance) * f64::from(tries)).min(1.0)
}

/// Whether an observed number is within the tolerance. A backend whose share is zero must get nothing.
#[must_use]
pub fn is_within(observed: u64, count: u64, expected: f64, tolerance: f64) -> bool {
    if expected == 0.0 {
        return observed == 0;
    }
    #[allow(clippy::cast_precision_loss, reason = "numbers of requests are far below 2^52")]
    let share = observed as f64 * 100.0 / count.max(1) as f64;
    (share - expected * 100.0).abs() <= tolerance + 1e-9
}

fn within(count: u32, expected: f64, actual: f64, tolerance: f64) -> f64 {
    let inside = |observed: &u32| is_within(u64::from(*observed), u64::from(count), expected, tolerance);
    (0..=count).filter(inside).map(|observed| probability(count, observed, actual)).sum()
}

/// Binomial probability of exactly `successes` in `count`.
fn probability(count: u32, successes: u32, p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        let certain = if p <= 0.0 { 0 } else { count };
        return if successes == certain { 1.0 } else { 0.0 };
    }
    let ways = ln_factorial(count) - ln_factorial(successes) - ln_factorial(count - successes);
    (ways + f64::from(successes) * p.ln() + f64::from(count - successes) * (1.0 - p).ln()).exp()
}

fn ln_factorial(n: u32) -> f64 {
    (2..=n).map(|k| f64::from(k).ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_agree_with_known_values() {
        assert!((probability(10, 5, 0.5) - 252.0 / 1024.0).abs() < 1e-12);
        let sum: f64 = (0..=200).map(|k| probability(200, k, 0.75)).sum();
        assert!((sum - 1.0).abs() < 1e-9);
        // One try of 200 requests at 75:25 with 10 points: 8e-4, as the reference computes it.
        let once = false_fail(200, &[0.75, 0.25], 10.0, 1);
        assert!((7e-4..9e-4).contains(&once), "{once}");
        let ignored = false_pass(200, &[0.75, 0.25], &[0.5, 0.5], 10.0, 1);
        assert!((1e-5..2e-5).contains(&ignored), "{ignored}");
    }

    #[test]
    fn backend_with_weight_zero_must_get_no_requests() {
        assert!(is_within(0, 1000, 0.0, 10.0));
        assert!(!is_within(1, 1000, 0.0, 10.0));
        assert!(is_within(650, 1000, 0.75, 10.0) && !is_within(649, 1000, 0.75, 10.0));
    }
}
