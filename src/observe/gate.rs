//! Health gate of a canary: from counts of requests to a verdict, and from verdicts to the next weight. Pure, so that it
//! decides the same after a restart of the worker.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Thresholds of a canary.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    /// Largest share of failed requests, 0 to 1.
    pub max_error_ratio: f64,
    /// Largest 99th percentile of the duration, milliseconds; none when latency is not judged.
    pub max_latency_p99_ms: Option<f64>,
    /// Requests in a window below which nothing is decided.
    pub min_requests: u64,
}

/// What the store reports about the canary in one window.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sample {
    /// Number of requests; an estimate from rates, so not always an integer.
    pub requests: f64,
    /// Requests that failed.
    pub failed: f64,
    /// 99th percentile of the duration, milliseconds; none without a histogram.
    pub latency_p99_ms: Option<f64>,
}

/// The verdict on a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All thresholds are met.
    Good,
    /// A threshold is exceeded, by more than chance explains.
    Bad,
    /// The error rate exceeds the threshold, but the requests are too few for a decision.
    Unclear,
    /// Too few requests, or no answer of the store.
    NoData,
}

/// Verdicts `bad` in a row after which traffic goes back: one may be a short disturbance.
pub const BAD_IN_A_ROW: u8 = 2;

/// How weights move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// Weight at the end, percent.
    pub target: u8,
    /// Weight that each step adds, percent.
    pub step: u8,
    /// Windows in a row without a decision (`unclear`, `no-data`) after which traffic goes back.
    pub patience: u8,
}

/// Where a gated change stands. It is stored with the weights, so that another worker continues it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Weight of the canary before the change, percent: what traffic goes back to.
    pub baseline: u8,
    /// Weight of the canary now, percent.
    pub weight: u8,
    /// Verdicts `bad` in a row.
    pub bad: u8,
    /// Verdicts `unclear` or `no-data` in a row.
    pub undecided: u8,
}

/// The step after a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The canary gets this weight.
    Advance(u8),
    /// The weight stays for another window.
    Hold,
    /// The target is reached and healthy.
    Done,
    /// Traffic goes back to the baseline.
    Back(Reason),
}

/// Why traffic goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Thresholds were exceeded.
    Unhealthy,
    /// There was no decision for too long.
    Undecided,
}

/// Quantile of the normal distribution for one-sided 95 %.
const Z: f64 = 1.645;
/// The quantiles for 5 % divided by this number of comparisons (Bonferroni), so that one of many healthy workloads does
/// not count as bad by chance.
const Z_OF_MANY: &[(usize, f64)] = &[(1, Z), (3, 2.128), (10, 2.576), (30, 2.935), (100, 3.291), (300, 3.588)];
const Z_OF_MORE: f64 = 3.891;

fn z_of(comparisons: usize) -> f64 {
    Z_OF_MANY.iter().find(|(most, _)| comparisons <= *most).map_or(Z_OF_MORE, |(_, z)| *z)
}

/// Lower bound of a share, by Wilson's score interval. Source: E. B. Wilson, "Probable inference, the law of succession,
/// and statistical inference", 1927.
fn lower_bound(failed: f64, requests: f64, z: f64) -> f64 {
    if requests <= 0.0 {
        return 0.0;
    }
    let share = (failed / requests).clamp(0.0, 1.0);
    let square = z * z;
    let center = share + square / (2.0 * requests);
    let margin = z * (share * (1.0 - share) / requests + square / (4.0 * requests * requests)).sqrt();
    ((center - margin) / (1.0 + square / requests)).max(0.0)
}

/// The verdict on a sample.
#[must_use]
pub fn judge(thresholds: &Thresholds, sample: Option<&Sample>) -> Verdict {
    sample.map_or(Verdict::NoData, |sample| judge_at(thresholds, sample, Z))
}

/// The verdict on the samples of several workloads, and the index of the first one that is bad by itself. `all` has the
/// requests of all of them.
#[must_use]
pub fn judge_workloads(thresholds: &Thresholds, each: &[Sample], all: &Sample) -> (Verdict, Option<usize>) {
    let z = z_of(each.len());
    match each.iter().position(|sample| judge_at(thresholds, sample, z) == Verdict::Bad) {
        Some(worst) => (Verdict::Bad, Some(worst)),
        None => (judge_at(thresholds, all, Z), None),
    }
}

/// The verdict where the store may have no samples of the first part of the window. Rates are too low then, so what is not
/// bad is not known to be good.
#[must_use]
pub const fn on_window(verdict: Verdict, is_full: bool) -> Verdict {
    match verdict {
        Verdict::Good | Verdict::Unclear if !is_full => Verdict::NoData,
        verdict => verdict,
    }
}

fn judge_at(thresholds: &Thresholds, sample: &Sample, z: f64) -> Verdict {
    #[allow(clippy::cast_precision_loss, reason = "at most a million")]
    let enough = sample.requests >= thresholds.min_requests as f64 && sample.requests > 0.0;
    if !enough {
        return Verdict::NoData;
    }
    let slow = match (thresholds.max_latency_p99_ms, sample.latency_p99_ms) {
        (Some(_), None) => return Verdict::NoData,
        (Some(most), Some(latency)) => latency > most,
        (None, _) => false,
    };
    if slow || lower_bound(sample.failed, sample.requests, z) > thresholds.max_error_ratio {
        Verdict::Bad
    } else if sample.failed > thresholds.max_error_ratio * sample.requests {
        Verdict::Unclear
    } else {
        Verdict::Good
    }
}

/// Verdicts in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Streak {
    /// Verdicts `bad`.
    pub bad: u8,
    /// Verdicts `unclear` or `no-data`.
    pub undecided: u8,
}

/// What a verdict means for the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// The next step may follow.
    Pass,
    /// Another window has to decide.
    Hold,
    /// The change is undone.
    Back(Reason),
}

impl Streak {
    /// Counts a verdict.
    pub const fn count(&mut self, verdict: Verdict, patience: u8) -> Ruling {
        match verdict {
            Verdict::Good => {
                *self = Self { bad: 0, undecided: 0 };
                Ruling::Pass
            }
            Verdict::Bad => {
                *self = Self { bad: self.bad.saturating_add(1), undecided: 0 };
                if self.bad >= BAD_IN_A_ROW { Ruling::Back(Reason::Unhealthy) } else { Ruling::Hold }
            }
            Verdict::Unclear | Verdict::NoData => {
                self.undecided = self.undecided.saturating_add(1);
                if self.undecided >= patience { Ruling::Back(Reason::Undecided) } else { Ruling::Hold }
            }
        }
    }
}

/// Weight of the next step.
#[must_use]
pub fn raised(weight: u8, steps: &Steps) -> u8 {
    weight.saturating_add(steps.step).min(steps.target)
}

/// The step, and the counters after it.
pub fn next(progress: &mut Progress, verdict: Verdict, steps: &Steps) -> Next {
    let mut streak = Streak { bad: progress.bad, undecided: progress.undecided };
    let ruling = streak.count(verdict, steps.patience);
    (progress.bad, progress.undecided) = (streak.bad, streak.undecided);
    match ruling {
        Ruling::Pass if progress.weight >= steps.target => Next::Done,
        Ruling::Pass => {
            progress.weight = raised(progress.weight, steps);
            Next::Advance(progress.weight)
        }
        Ruling::Hold => Next::Hold,
        Ruling::Back(reason) => Next::Back(reason),
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    const STEPS: Steps = Steps { target: 100, step: 10, patience: 5 };

    fn thresholds() -> Thresholds {
        Thresholds { max_error_ratio: 0.01, max_latency_p99_ms: Some(500.0), min_requests: 50 }
    }

    /// Metrics of a canary: share of failed requests, and its 99th percentile, by its weight.
    struct Canary {
        errors: fn(u8) -> f64,
        latency: fn(u8) -> f64,
        /// Share of windows for which the store has no answer.
        gaps: f64,
    }

    /// One rollout of 40 requests a second and windows of one minute; whether the canary was let through.
    fn rollout(canary: &Canary, seed: u64) -> (bool, u8, usize) {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut progress = Progress { weight: STEPS.step, ..Progress::default() };
        let mut highest = progress.weight;
        for windows in 1.. {
            let gap = random.random::<f64>() < canary.gaps;
            let share = (canary.errors)(progress.weight);
            let requests = 24 * u32::from(progress.weight);
            let failed = (0..requests).filter(|_| random.random::<f64>() < share).count();
            let noise = random.random_range(0.8..1.1);
            #[allow(clippy::cast_precision_loss, reason = "small numbers")]
            let sample = Sample {
                requests: f64::from(requests),
                failed: failed as f64,
                latency_p99_ms: Some((canary.latency)(progress.weight) * noise),
            };
            let verdict = judge(&thresholds(), (!gap).then_some(&sample));
            match next(&mut progress, verdict, &STEPS) {
                Next::Advance(weight) => highest = highest.max(weight),
                Next::Hold => {}
                Next::Done => return (true, highest, windows),
                Next::Back(_) => return (false, highest, windows),
            }
        }
        unreachable!("each window decides or is counted")
    }

    /// A hundred rollouts of each canary: the good ones are let through, the bad ones never get all traffic.
    #[test]
    fn simulated_rollouts_end_with_the_right_decision() {
        let canary = |errors, latency, gaps| Canary { errors, latency, gaps };
        let cases: [(&str, bool, Canary); 8] = [
            ("healthy", true, canary(|_| 0.001, |_| 200.0, 0.0)),
            ("no error at all", true, canary(|_| 0.0, |_| 50.0, 0.0)),
            ("healthy, store with gaps", true, canary(|_| 0.002, |_| 200.0, 0.2)),
            ("5 % errors", false, canary(|_| 0.05, |_| 200.0, 0.0)),
            ("fails under load only", false, canary(|weight| if weight > 50 { 0.08 } else { 0.001 }, |_| 200.0, 0.0)),
            ("all fail", false, canary(|_| 1.0, |_| 200.0, 0.0)),
            ("slow", false, canary(|_| 0.0, |_| 900.0, 0.0)),
            ("the store is gone", false, canary(|_| 0.0, |_| 50.0, 1.0)),
        ];
        println!("{:<26} {:>8} {:>8} {:>15} {:>13}", "canary", "through", "stopped", "highest weight", "mean windows");
        for (name, good, canary) in cases {
            let runs: Vec<_> = (0..100).map(|seed| rollout(&canary, seed)).collect();
            let through = runs.iter().filter(|(through, ..)| *through).count();
            let highest = runs.iter().map(|(_, highest, _)| *highest).max().unwrap();
            #[allow(clippy::cast_precision_loss, reason = "small numbers")]
            let mean = runs.iter().map(|(.., windows)| *windows).sum::<usize>() as f64 / 100.0;
            println!("{name:<26} {through:>8} {:>8} {highest:>14}% {mean:>13.1}", 100 - through);
            assert_eq!(through, if good { 100 } else { 0 }, "{name}");
            assert!(good || highest <= 70, "{name}: {highest} %");
        }
    }

    #[test]
    fn few_requests_are_inconclusive() {
        let sample = |requests, failed| Sample { requests, failed, latency_p99_ms: Some(10.0) };
        let verdict = |one: Sample| judge(&thresholds(), Some(&one));
        assert_eq!(verdict(sample(49.0, 49.0)), Verdict::NoData);
        assert_eq!(verdict(sample(50.0, 1.0)), Verdict::Unclear, "one of 50 may be chance at 1 %");
        assert_eq!(verdict(sample(50.0, 5.0)), Verdict::Bad);
        assert_eq!(verdict(sample(1000.0, 10.0)), Verdict::Good);
        assert_eq!(verdict(Sample { latency_p99_ms: None, ..sample(1000.0, 0.0) }), Verdict::NoData);
        assert_eq!(judge(&thresholds(), None), Verdict::NoData);
        let none = Thresholds { min_requests: 0, max_latency_p99_ms: None, ..thresholds() };
        assert_eq!(judge(&none, Some(&Sample::default())), Verdict::NoData, "no request is no success");
    }

    #[test]
    fn canary_is_not_healthy_by_a_part_of_a_window() {
        for (verdict, expected) in [
            (Verdict::Good, Verdict::NoData),
            (Verdict::Unclear, Verdict::NoData),
            (Verdict::NoData, Verdict::NoData),
            (Verdict::Bad, Verdict::Bad),
        ] {
            assert_eq!(on_window(verdict, false), expected);
            assert_eq!(on_window(verdict, true), verdict);
        }
    }

    #[test]
    fn one_unhealthy_window_pauses_and_two_roll_back() {
        let mut progress = Progress { weight: 30, ..Progress::default() };
        assert_eq!(next(&mut progress, Verdict::Bad, &STEPS), Next::Hold);
        assert_eq!(next(&mut progress, Verdict::Good, &STEPS), Next::Advance(40));
        assert_eq!(next(&mut progress, Verdict::Bad, &STEPS), Next::Hold);
        assert_eq!(next(&mut progress, Verdict::Bad, &STEPS), Next::Back(Reason::Unhealthy));
        let mut last = Progress { weight: 95, ..Progress::default() };
        assert_eq!(next(&mut last, Verdict::Good, &STEPS), Next::Advance(100));
        assert_eq!(next(&mut last, Verdict::Good, &STEPS), Next::Done);
        let mut silent = Progress { weight: 10, ..Progress::default() };
        for _ in 1..STEPS.patience {
            assert_eq!(next(&mut silent, Verdict::NoData, &STEPS), Next::Hold);
        }
        assert_eq!(next(&mut silent, Verdict::NoData, &STEPS), Next::Back(Reason::Undecided));
    }

    #[test]
    fn one_unhealthy_workload_among_many_is_found() {
        let good = Sample { requests: 1000.0, failed: 0.0, latency_p99_ms: Some(20.0) };
        let bad = Sample { requests: 100.0, failed: 40.0, latency_p99_ms: Some(20.0) };
        let all = Sample { requests: 50_100.0, failed: 40.0, latency_p99_ms: Some(20.0) };
        let mut each = vec![good; 50];
        assert_eq!(judge_workloads(&thresholds(), &each, &all), (Verdict::Good, None));
        each[7] = bad;
        assert_eq!(judge_workloads(&thresholds(), &each, &all), (Verdict::Bad, Some(7)));
        each[7] = Sample { latency_p99_ms: Some(2000.0), ..good };
        assert_eq!(judge_workloads(&thresholds(), &each, &all), (Verdict::Bad, Some(7)));
        let few = Sample { requests: 10.0, ..good };
        assert_eq!(judge_workloads(&thresholds(), &[few], &few), (Verdict::NoData, None));
    }

    /// 100 upgrades of 60 workloads each, half a percent of whose requests fail as before: none is stopped, although the
    /// worst of 60 workloads is often above the threshold by chance. With one workload that fails 5 %, all are.
    #[test]
    fn upgrades_of_many_workloads_are_not_stopped_by_chance() {
        let thresholds = Thresholds { max_latency_p99_ms: None, ..thresholds() };
        for seed in 0..100 {
            for broken in [false, true] {
                let mut random = SmallRng::seed_from_u64(seed);
                let mut streak = Streak::default();
                let ruling = (0..20).find_map(|_| {
                    let mut sample = |share: f64| {
                        let failed = (0..200).filter(|_| random.random::<f64>() < share).count();
                        Sample {
                            requests: 200.0,
                            failed: f64::from(u32::try_from(failed).unwrap()),
                            latency_p99_ms: None,
                        }
                    };
                    let mut each: Vec<Sample> = (0..60).map(|_| sample(0.005)).collect();
                    if broken {
                        each[30] = sample(0.1);
                    }
                    let failed = each.iter().map(|one| one.failed).sum();
                    let all = Sample { requests: 200.0 * 60.0, failed, latency_p99_ms: None };
                    let (verdict, _) = judge_workloads(&thresholds, &each, &all);
                    Some(streak.count(verdict, 5))
                        .filter(|ruling| *ruling != Ruling::Hold && (!broken || *ruling != Ruling::Pass))
                });
                let expected = if broken { Ruling::Back(Reason::Unhealthy) } else { Ruling::Pass };
                assert_eq!(ruling, Some(expected), "seed {seed}");
            }
        }
    }
}
