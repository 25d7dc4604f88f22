//! Streams, consumer and buckets, declared once. `sailhand topology apply` makes them so with admin rights and never
//! deletes or re-creates one; workers only verify. Numbers and reasons: each field below.

use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use time::OffsetDateTime;

use super::subject::{CONSUMER, SWEEPER, Subjects};
use crate::config;
use crate::event::binding::MAX_BYTES;

/// Space for the headers of a command, bytes.
const HEADERS: usize = 8 * 1024;
const DAY: Duration = Duration::from_hours(24);

/// How long the card of a target outlives the worker that published it. Workers publish it three times as often.
pub const CARD_TTL: Duration = Duration::from_secs(90);

/// Everything the bus consists of.
#[derive(Debug, Clone)]
pub struct Topology {
    /// Names.
    pub subjects: Subjects,
    /// Streams, those behind buckets included.
    pub streams: Vec<Config>,
    /// The consumers of the command stream, of the advisories and of the waiting stream; each with its stream.
    pub consumers: [(String, pull::Config); 3],
}

impl Topology {
    /// By the configuration.
    #[must_use]
    pub fn new(bus: &config::Bus) -> Self {
        let subjects = Subjects::of(bus);
        let stream = |name: String, subjects: Vec<String>, max_age: Duration| Config {
            name,
            subjects,
            max_age,
            storage: StorageType::File,
            num_replicas: bus.replicas,
            duplicate_window: Duration::from_mins(2).min(max_age),
            ..Config::default()
        };
        let advisories = [subjects.command_stream(), subjects.waiting_stream()].map(|stream| {
            ["MAX_DELIVERIES", "MSG_TERMINATED"].map(|kind| format!("$JS.EVENT.ADVISORY.CONSUMER.{kind}.{stream}.>"))
        });
        let mut streams = vec![
            Config {
                description: Some("sailhand commands: a work queue".to_owned()),
                retention: RetentionPolicy::WorkQueue,
                // Producers write to it. No schedules: the server would publish them on any subject of the stream,
                // whatever the permissions of their sender. No roll-ups: they delete the commands of others. No
                // message TTL: a command would disappear without a result.
                discard: DiscardPolicy::New,
                max_bytes: bus.max_bytes,
                max_message_size: i32::try_from(MAX_BYTES + HEADERS).unwrap_or(i32::MAX),
                duplicate_window: Duration::from_mins(10),
                allow_direct: true,
                ..stream(subjects.command_stream(), vec![subjects.commands()], 7 * DAY)
            },
            Config {
                description: Some("sailhand commands that wait: for their next attempt, target or lease".to_owned()),
                retention: RetentionPolicy::WorkQueue,
                // The server accepts schedules only with `discard: old` (error 10052), and a full stream would then
                // delete commands. So the workers enforce the limit (`nats/waiting_limit.rs`); no other client writes here.
                discard: DiscardPolicy::Old,
                max_message_size: i32::try_from(MAX_BYTES + 2 * HEADERS).unwrap_or(i32::MAX), // those of the schedule too
                duplicate_window: Duration::from_mins(10),
                allow_message_schedules: true,
                allow_rollup: true,      // comes with schedules
                allow_message_ttl: true, // comes with schedules
                allow_direct: true,
                ..stream(subjects.waiting_stream(), vec![subjects.schedules(), subjects.all_due()], 7 * DAY)
            },
            Config {
                description: Some("sailhand progress events".to_owned()),
                max_bytes: bus.max_bytes,
                allow_direct: true,
                ..stream(subjects.event_stream(), vec![subjects.events()], 7 * DAY)
            },
            Config {
                description: Some("sailhand results, one for each command: also the idempotency record".to_owned()),
                max_messages_per_subject: 1,
                // A full stream refuses a result and keeps those that are there: it is the idempotency record.
                discard: DiscardPolicy::New,
                max_bytes: bus.max_result_bytes,
                allow_direct: true,
                deny_delete: true,
                allow_message_ttl: true, // results of commands that write nothing
                ..stream(subjects.result_stream(), vec![subjects.results()], 30 * DAY)
            },
            Config {
                description: Some("sailhand dead letters".to_owned()),
                max_bytes: bus.max_bytes,
                allow_direct: true,
                // A repetition follows after one or two timeouts of a request.
                duplicate_window: Duration::from_hours(1),
                ..stream(subjects.dead_letter_stream(), vec![subjects.dead_letters()], 30 * DAY)
            },
            Config {
                description: Some("advisories about sailhand commands".to_owned()),
                retention: RetentionPolicy::WorkQueue,
                max_messages: 10_000, // of a flood of bad input; workers look for theirs within seconds
                ..stream(subjects.advisory_stream(), advisories.concat(), 7 * DAY)
            },
            bucket(stream(String::new(), Vec::new(), bus.lease_ttl), &subjects.lease_bucket()),
            Config {
                allow_message_ttl: true, // records of commands that write nothing
                ..bucket(stream(String::new(), Vec::new(), 7 * DAY), &subjects.attempt_bucket())
            },
            Config {
                allow_message_ttl: true, // a pause lasts until it is ended
                ..bucket(stream(String::new(), Vec::new(), 7 * DAY), &subjects.control_bucket())
            },
            bucket(stream(String::new(), Vec::new(), CARD_TTL), &subjects.target_bucket()),
            // As long as the results that name them.
            objects(stream(String::new(), Vec::new(), 30 * DAY), &subjects.attachment_bucket(), bus.max_bytes),
        ];
        for bucket in subjects.parameter_buckets() {
            streams.push(objects(stream(String::new(), Vec::new(), 7 * DAY), &bucket, bus.max_bytes));
        }
        let consumers = consumers(&subjects, bus);
        Self { subjects, streams, consumers }
    }

    /// The number of the first message of a stream that is made now. Those of leases order the writers, and clusters keep
    /// the highest that has written: when a server's store is lost, the leases of the next one have to continue above it. No
    /// bucket is written to once a microsecond for all its life.
    ///
    /// The numbers of commands name records and dead letters. A command stream that is created while the waiting stream
    /// exists (`is_replaced`) replaces an earlier one and must not repeat its numbers.
    #[must_use]
    pub fn first_sequence(&self, stream: &str, now: OffsetDateTime, is_replaced: bool) -> Option<u64> {
        let orders_writers = stream.strip_prefix("KV_") == Some(self.subjects.lease_bucket().as_str());
        let continues = is_replaced && stream == self.subjects.command_stream();
        (orders_writers || continues).then(|| u64::try_from(now.unix_timestamp_nanos() / 1_000).unwrap_or(1))
    }

    /// Where `found` is not what is declared, one sentence for each difference that matters.
    #[must_use]
    pub fn stream_differences(declared: &Config, found: &Config) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |field: &str, same: bool, is: String, should: String| {
            if !same {
                differences.push(format!("stream {}: {field} is {is}, should be {should}", declared.name));
            }
        };
        macro_rules! same {
            ($($field:ident),+) => { $( compare(
                stringify!($field),
                declared.$field == found.$field,
                format!("{:?}", found.$field),
                format!("{:?}", declared.$field),
            ); )+ };
        }
        same!(retention, discard, storage, num_replicas, max_age, duplicate_window);
        same!(allow_direct, deny_delete, allow_rollup, allow_message_schedules, allow_message_ttl);
        let sorted = |config: &Config| {
            let mut subjects = config.subjects.clone();
            subjects.sort();
            subjects
        };
        compare(
            "subjects",
            sorted(declared) == sorted(found),
            format!("{:?}", found.subjects),
            format!("{:?}", declared.subjects),
        );
        for (field, should, is) in [
            ("max_bytes", declared.max_bytes, found.max_bytes),
            ("max_messages", declared.max_messages, found.max_messages),
            ("max_messages_per_subject", declared.max_messages_per_subject, found.max_messages_per_subject),
            ("max_message_size", i64::from(declared.max_message_size), i64::from(found.max_message_size)),
        ] {
            // The server says -1 for what is not limited.
            compare(field, should.max(0) == is.max(0), is.to_string(), should.to_string());
        }
        differences
    }

    /// The same for a consumer.
    #[must_use]
    pub fn consumer_differences(declared: &pull::Config, found: &consumer::Config) -> Vec<String> {
        let name = declared.durable_name.as_deref().unwrap_or_default();
        let mut differences = Vec::new();
        macro_rules! same {
            ($($field:ident),+) => { $( if declared.$field != found.$field {
                differences.push(format!(
                    "consumer {name}: {} is {:?}, should be {:?}", stringify!($field), found.$field, declared.$field
                ));
            } )+ };
        }
        same!(filter_subject, ack_policy, ack_wait, max_deliver, max_ack_pending, backoff);
        differences
    }
}

/// The consumers, each with its stream.
fn consumers(subjects: &Subjects, bus: &config::Bus) -> [(String, pull::Config); 3] {
    let consumer = pull::Config {
        durable_name: Some(CONSUMER.to_owned()),
        filter_subject: subjects.commands(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: bus.ack_wait,
        max_deliver: -1, // attempts are counted in the attempt record: a busy NAK is a delivery but no attempt
        max_ack_pending: 20_000, // delayed NAKs live in it: each worker bounds its own (`worker/requeue.rs`)
        ..pull::Config::default()  // no backoff: it adds itself to a NAK's delay
    };
    let due = pull::Config { filter_subject: subjects.all_due(), ..consumer.clone() };
    let sweeper = pull::Config {
        durable_name: Some(SWEEPER.to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(30),
        max_deliver: -1,
        max_ack_pending: 1000,
        ..pull::Config::default()
    };
    [(subjects.command_stream(), consumer), (subjects.advisory_stream(), sweeper), (subjects.waiting_stream(), due)]
}

/// A key-value bucket is a stream of this shape (nats-architecture-and-design ADR-8).
fn bucket(stream: Config, name: &str) -> Config {
    Config {
        name: format!("KV_{name}"),
        subjects: vec![format!("$KV.{name}.>")],
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        ..stream
    }
}

/// An object store is a stream of this shape (nats-architecture-and-design ADR-20).
fn objects(stream: Config, name: &str, max_bytes: i64) -> Config {
    Config {
        name: format!("OBJ_{name}"),
        subjects: ["C", "M"].map(|part| format!("$O.{name}.{part}.>")).into(),
        discard: DiscardPolicy::New,
        allow_rollup: true,
        allow_direct: true,
        max_bytes,
        ..stream
    }
}
