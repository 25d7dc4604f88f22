//! Duration of tasks that watch a cluster.

use std::time::Duration;

use super::{Error, Limits};

/// Longest watch. The message waits in the queue's stream meanwhile, which keeps messages for a week.
const LONGEST: Duration = Duration::from_hours(24);

/// Default of the parameter `duration`.
pub fn ten_minutes() -> String {
    "10m".to_owned()
}

/// Limits of a watch of any duration.
pub fn limits() -> Limits {
    Limits { deadline: LONGEST + Duration::from_hours(1), ..Limits::default() }
}

/// Parses the parameter `duration`.
///
/// # Errors
/// [`Error::Parameter`] for another format and for more than 24 hours.
pub fn duration(text: &str) -> Result<Duration, Error> {
    let wrong = |reason: String| Error::Parameter { field: "duration", reason };
    let duration = humantime::parse_duration(text).map_err(|error| wrong(error.to_string()))?;
    if duration > LONGEST { Err(wrong(format!("{text} is more than 24h"))) } else { Ok(duration) }
}
