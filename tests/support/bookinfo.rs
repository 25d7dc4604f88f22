//! What Istio's sample application has.

/// Its traffic scenarios, all of them.
pub const SCENARIOS: [&str; 18] = [
    "all-v1",
    "reviews-test-v2",
    "reviews-jason-v2-v3",
    "reviews-80-20",
    "reviews-90-10",
    "reviews-50-v3",
    "reviews-v2-v3",
    "reviews-v3",
    "ratings-test-delay",
    "ratings-test-abort",
    "fault-injection-details-v1",
    "details-v2",
    "ratings-db",
    "ratings-mysql",
    "ratings-mysql-vm",
    "destination-rule-all",
    "destination-rule-all-mtls",
    "destination-rule-reviews",
];
