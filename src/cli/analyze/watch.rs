//! `sailhand analyze --watch`: prints new and resolved findings of a cluster, line by line, until interrupted.

use serde_json::json;

use sailhand_analyze::{Filter, Format, is_asked_for};

use super::{Options, live};
use crate::analysis::suppress::Suppressions;
use crate::analysis::{Finding, Level, report, source::Sources};
use crate::cli::output::{self, BAD, CHANGED, GOOD, QUIET, STRONG, styled};
use crate::cli::{Error, Exit};
use crate::clock::Clock;
use crate::cluster::configuration::Live;
use crate::prose::plural;

/// Maximum number of kinds that could not be read that are printed.
const UNREAD: usize = 5;

/// What has happened to a finding.
#[derive(Clone, Copy)]
enum Change {
    Found,
    Resolved,
}

pub(super) async fn run(options: &Options, filter: Filter, suppressions: Suppressions) -> Result<Exit, Error> {
    let is_json = match options.files.output {
        Format::Json => true,
        Format::Text => false,
        _ => return Err(Error::argument("--output", "--watch supports only the formats text and json")),
    };
    let context = match options.context.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        _ => return Err(Error::argument("--context", "--watch supports only one cluster")),
    };
    let (_, cluster) = live::connect(options, context).await?;
    let rules = filter.rules();
    let namespaces = options.files.only_namespace.clone();
    let shows = move |finding: &Finding| {
        filter.allows(finding) && is_asked_for(&namespaces, finding) && !suppressions.covers(finding)
    };
    let started = Live::start(cluster, rules, Box::new(shows), Clock::system(), options.timeout).await;
    let mut live = started.map_err(Error::Cluster)?;
    for finding in live.findings() {
        print(finding, Change::Found, is_json)?;
    }
    let mut unread = Vec::new();
    loop {
        if unread != live.unread() {
            unread = live.unread();
            for one in unread.iter().take(UNREAD) {
                output::note(format_args!("{} {one}", styled(BAD, "not read:")));
            }
            if unread.len() > UNREAD {
                output::note(format_args!("  and {}", plural(unread.len() - UNREAD, "more kind")));
            }
        }
        if !is_json {
            let (objects, findings) = (plural(live.objects(), "object"), plural(live.findings().len(), "finding"));
            output::note(styled(QUIET, format_args!("{objects}, {findings}; watching, press Ctrl-C to stop")));
        }
        let difference = tokio::select! {
            difference = live.next() => difference,
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(difference) = difference else { break };
        for finding in &difference.resolved {
            print(finding, Change::Resolved, is_json)?;
        }
        for finding in &difference.found {
            print(finding, Change::Found, is_json)?;
        }
    }
    let is_bad = live.findings().into_iter().any(|finding| options.files.fail_on.is_reached(finding));
    Ok(if is_bad { Exit::Failed } else { Exit::Success })
}

/// Prints a finding.
fn print(finding: &Finding, change: Change, is_json: bool) -> Result<(), Error> {
    if is_json {
        let event = match change {
            Change::Found => "found",
            Change::Resolved => "resolved",
        };
        return output::whole(json!({"event": event, "finding": report::json::finding(finding, &Sources::default())}));
    }
    let sign = match (change, finding.level) {
        (Change::Resolved, _) => styled(GOOD, "-"),
        (Change::Found, Level::Error) => styled(BAD, "+"),
        (Change::Found, _) => styled(CHANGED, "+"),
    };
    let field = if finding.field.is_empty() { String::new() } else { format!(" {}", finding.field) };
    let object = styled(STRONG, &finding.object);
    output::line(format_args!("{sign} {}[{}] {object}{field}: {}", finding.level, finding.code.id, finding.message))
}
