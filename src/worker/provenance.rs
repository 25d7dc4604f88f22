//! How a delivery came onto its subject, by headers that only NATS interprets. NATS permissions protect a subject from
//! clients, but not from message schedules: the server publishes those itself, on any subject of the stream, for whoever
//! may publish on one of them (nats-architecture-and-design ADR-51). So a command from a schedule is accepted only if it
//! is the worker's own schedule of this very command, and a client's message may not be a schedule.

use super::Error;

/// The server writes it into what a schedule publishes: the subject of the schedule. It refuses it from clients, except
/// beside `Nats-Schedule-Next: purge`.
const SCHEDULER: &str = "nats-scheduler";
/// The server writes it into what a schedule publishes.
const SCHEDULE_NEXT: &str = "nats-schedule-next";
/// All other headers that begin so make a message a schedule.
const SCHEDULE: &str = "nats-schedule";
/// Deletes the other messages of the subject, or of the stream.
const ROLLUP: &str = "nats-rollup";

/// Checks the headers of a delivery. `schedule` is the subject on which workers schedule the command that it carries;
/// `None` if it carries none.
///
/// # Errors
/// [`Error::ForeignSchedule`] and [`Error::ForbiddenHeader`].
pub(super) fn check<'a>(
    headers: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    schedule: Option<&str>,
) -> Result<(), Error> {
    let mut is_scheduled = false;
    for (name, value) in headers.clone() {
        if name.eq_ignore_ascii_case(SCHEDULER) {
            if schedule != Some(value) {
                return Err(Error::ForeignSchedule { schedule: value.chars().take(256).collect() });
            }
            is_scheduled = true;
        }
    }
    for (name, _) in headers {
        let lower = name.to_ascii_lowercase();
        let is_servers = lower == SCHEDULER || lower == SCHEDULE_NEXT && is_scheduled;
        if lower == ROLLUP || lower.starts_with(SCHEDULE) && !is_servers {
            return Err(Error::ForbiddenHeader { name: name.chars().take(64).collect() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "istio.sched.dev.0123";

    fn check_all(headers: &[(&str, &str)], schedule: Option<&str>) -> Result<(), Error> {
        check(headers.iter().copied(), schedule)
    }

    #[test]
    fn published_command_and_own_schedule_are_accepted() {
        for headers in [
            &[][..],
            &[("Nats-Msg-Id", "1"), ("Nats-TTL", "1h"), ("Nats-Expected-Stream", "ISTIO_CMD"), ("ce-id", "1")],
            &[("Nats-Scheduler", OWN), ("Nats-Schedule-Next", "purge")],
            &[("nats-scheduler", OWN)],
        ] {
            assert!(check_all(headers, Some(OWN)).is_ok(), "{headers:?}");
        }
    }

    #[test]
    fn schedule_of_another_command_is_refused() {
        for (scheduler, own) in [
            ("istio.cmd.dev.ping", Some(OWN)),
            ("istio.sched.prod.0123", Some(OWN)),
            ("istio.sched.dev.01234", Some(OWN)),
            ("ISTIO.sched.dev.0123", Some(OWN)),
            ("", Some(OWN)),
            (OWN, None),
        ] {
            let refused = check_all(&[("Nats-Scheduler", scheduler), ("Nats-Schedule-Next", "purge")], own);
            assert!(matches!(refused, Err(Error::ForeignSchedule { .. })), "{scheduler}: {refused:?}");
        }
        let twice = [("Nats-Scheduler", OWN), ("nats-scheduler", "istio.cmd.dev.ping")];
        assert!(matches!(check_all(&twice, Some(OWN)), Err(Error::ForeignSchedule { .. })));
    }

    #[test]
    fn delivery_that_is_a_schedule_or_a_rollup_is_refused() {
        for name in [
            "Nats-Schedule",
            "nats-schedule",
            "Nats-Schedule-Target",
            "Nats-Schedule-TTL",
            "Nats-Schedule-Source",
            "Nats-Schedule-Rollup",
            "Nats-Schedule-Next",
            "Nats-Rollup",
            "NATS-ROLLUP",
        ] {
            let refused = check_all(&[(name, "x")], Some(OWN));
            assert!(matches!(refused, Err(Error::ForbiddenHeader { .. })), "{name}: {refused:?}");
        }
        let scheduled = [("Nats-Scheduler", OWN), ("Nats-Schedule-Next", "purge"), ("Nats-Rollup", "sub")];
        assert!(matches!(check_all(&scheduled, Some(OWN)), Err(Error::ForbiddenHeader { .. })));
    }
}
