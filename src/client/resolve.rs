//! Finds a command by its key, a prefix of its key, or its CloudEvents id.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::state::MAX_QUEUE;
use super::{Client, Error};
use crate::bus;
use crate::event::CommandKey;

/// Shortest prefix of a key, in hex digits.
const MIN_PREFIX: usize = 4;
/// Maximum number of keys that an error lists.
const NAMED: usize = 5;

impl Client {
    /// The key of the command that `id` names: a key, the prefix of a known key (4 to 31 hex digits), or else a CloudEvents id
    /// of `source`.
    ///
    /// # Errors
    /// [`Error::Ambiguous`] when several keys have the prefix; otherwise when the streams cannot be read.
    pub async fn resolve(&self, id: &str, source: &str) -> Result<CommandKey, Error> {
        if let Ok(key) = id.parse() {
            return Ok(key);
        }
        let by_id = CommandKey::new(source, id);
        let is_prefix = (MIN_PREFIX..32).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if !is_prefix {
            return Ok(by_id);
        }
        let mut found = self.keys(id).await?;
        if found.len() > 1 {
            let keys = found.iter().take(NAMED).map(ToString::to_string).collect();
            return Err(Error::Ambiguous { prefix: id.to_owned(), keys });
        }
        Ok(found.pop_first().unwrap_or(by_id))
    }

    /// Known keys with this prefix: of commands that have started or ended, or wait in a schedule or in the queue.
    async fn keys(&self, prefix: &str) -> Result<BTreeSet<CommandKey>, Error> {
        let subjects = self.bus().subjects();
        let mut found = BTreeSet::new();
        // <prefix>.evt.<target>.<key>.started, <prefix>.res.<target>.<key>, <prefix>.sched.<target>.<key>
        for (stream, filter) in [
            (subjects.event_stream(), subjects.events_of_kind("*", "started")),
            (subjects.result_stream(), subjects.results()),
            (subjects.waiting_stream(), subjects.schedules()),
        ] {
            let counted = match self.count(&stream, &filter).await {
                Err(Error::Bus(bus::Error::Denied { .. })) => continue,
                counted => counted?,
            };
            let keys = counted.iter().filter_map(|(subject, _)| subject.split('.').nth(3));
            found.extend(keys.filter(|key| key.starts_with(prefix)).filter_map(|key| key.parse().ok()));
        }
        let [commands, _, due] = subjects.queues();
        let add = |key: CommandKey, _: &_, _: &_| {
            found.extend(Some(key).filter(|key| key.as_str().starts_with(prefix)));
            ControlFlow::Continue(())
        };
        match self.visit_queues(&[commands, due], MAX_QUEUE, add).await {
            Err(Error::Bus(bus::Error::Denied { .. })) => {}
            visited => drop(visited?),
        }
        Ok(found)
    }
}
