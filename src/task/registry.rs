//! Tasks without their types, by verb.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::Schema;
use serde::Serialize;
use serde_json::Value;

use crate::chart::Charts;
use crate::cluster::{Action, ObjectReport};
use crate::config;
use crate::event::AttemptedObject;

use super::{Error, Failure, Limits, Outcome, SlotClass, Task, TaskContext};

/// A [`Task`] whose parameters and report are JSON.
#[async_trait]
pub trait DynTask: Send + Sync {
    /// See [`Task::VERB`].
    fn verb(&self) -> &'static str;
    /// See [`Task::SUMMARY`].
    fn summary(&self) -> &'static str;
    /// See [`Task::SLOT_CLASS`].
    fn slot_class(&self) -> SlotClass;
    /// See [`Task::limits`].
    fn limits(&self) -> Limits;
    /// See [`Task::limits_for`]. Parameters that do not fit have the limits of the verb.
    fn limits_for(&self, params: &Value) -> Limits;
    /// JSON Schema of the parameters.
    fn params_schema(&self) -> Schema;
    /// JSON Schema of the report.
    fn report_schema(&self) -> Schema;
    /// See [`Task::example`].
    fn example(&self) -> Value;
    /// See [`Task::installation`].
    ///
    /// # Errors
    /// Parameters that do not fit.
    fn installation(&self, params: &Value) -> Result<Option<String>, String>;
    /// See [`Task::check`].
    ///
    /// # Errors
    /// Parameters that [`DynTask::run`] would reject.
    fn check(&self, params: &Value) -> Result<(), Error>;
    /// See [`Task::run`].
    ///
    /// # Errors
    /// See [`Failure`].
    async fn run(&self, cx: &TaskContext, params: Value) -> Result<Outcome<Value>, Failure<Box<FailedReport>>>;
}

/// The report of a task that failed.
#[derive(Debug)]
pub struct FailedReport {
    /// The report.
    pub json: Value,
    /// Its objects that were written, deleted or failed.
    pub objects: Vec<AttemptedObject>,
}

impl FailedReport {
    fn of<T: Task>(report: &T::Report) -> Self {
        let objects = T::objects(report).into_iter().filter_map(attempted).collect();
        Self { json: json(report), objects }
    }
}

/// An object as a failed attempt lists it; `None` where nothing was written and nothing failed.
fn attempted(line: &ObjectReport) -> Option<AttemptedObject> {
    let listed = line.action.writes() || line.action == Action::Failed;
    listed.then(|| AttemptedObject { object: line.object.to_string(), action: line.action.as_str().to_owned() })
}

struct Erased<T>(T);

#[async_trait]
impl<T: Task> DynTask for Erased<T>
where
    T::Params: Serialize,
{
    fn verb(&self) -> &'static str {
        T::VERB
    }

    fn summary(&self) -> &'static str {
        T::SUMMARY
    }

    fn slot_class(&self) -> SlotClass {
        T::SLOT_CLASS
    }

    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn limits_for(&self, params: &Value) -> Limits {
        T::Params::deserialize_from(params).map_or_else(|_| self.0.limits(), |params| self.0.limits_for(&params))
    }

    fn params_schema(&self) -> Schema {
        schemars::schema_for!(T::Params)
    }

    fn report_schema(&self) -> Schema {
        schemars::schema_for!(T::Report)
    }

    fn example(&self) -> Value {
        json(&self.0.example())
    }

    fn installation(&self, params: &Value) -> Result<Option<String>, String> {
        let params = T::Params::deserialize_from(params)?;
        Ok(self.0.installation(&params))
    }

    fn check(&self, params: &Value) -> Result<(), Error> {
        self.0.check(&typed(params)?)
    }

    async fn run(&self, cx: &TaskContext, params: Value) -> Result<Outcome<Value>, Failure<Box<FailedReport>>> {
        let params = typed(&params)?;
        match self.0.run(cx, params).await {
            Ok(outcome) => Ok(outcome.map(|report| json(&report))),
            Err(Failure { error, report }) => {
                let report = report.map(|outcome| outcome.map(|report| Box::new(FailedReport::of::<T>(&report))));
                Err(Failure { error, report })
            }
        }
    }
}

fn typed<P: DeserializeFrom>(params: &Value) -> Result<P, Error> {
    P::deserialize_from(params).map_err(|reason| Error::Parameter { field: "data", reason })
}

trait DeserializeFrom: Sized {
    fn deserialize_from(value: &Value) -> Result<Self, String>;
}

impl<P: serde::de::DeserializeOwned> DeserializeFrom for P {
    fn deserialize_from(value: &Value) -> Result<Self, String> {
        P::deserialize(value).map_err(|error| error.to_string())
    }
}

/// Our own types hold string keys and finite numbers only, so this does not fail; should one ever do, the reader
/// sees why.
fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_else(|error| Value::String(error.to_string()))
}

/// The verbs a worker knows.
#[derive(Default)]
pub struct Registry {
    tasks: BTreeMap<&'static str, Box<dyn DynTask>>,
}

impl Registry {
    /// Every task of this crate. A new task is one file and one line here.
    #[must_use]
    pub fn standard() -> Self {
        Self::configured(&config::Charts::default())
    }

    /// The same, with charts from where the configuration says.
    #[must_use]
    pub fn configured(charts: &config::Charts) -> Self {
        let charts = Arc::new(Charts::new(charts));
        Self::default()
            .with(super::mesh::Install::new(&charts))
            .with(super::mesh::Upgrade::new(&charts))
            .with(super::mesh::Uninstall::new(&charts))
            .with(super::mesh::Status::new(&charts))
            .with(super::mesh::Precheck::new(&charts))
            .with(super::ping::Ping)
            .with(super::cancel::Cancel)
            .with(super::config::Apply)
            .with(super::config::Delete)
            .with(super::analyze::Analyze)
            .with(super::watch_analyze::Watch)
            .with(super::conformance::Run)
            .with(super::namespace::Label)
            .with(super::sample::Deploy)
            .with(super::sample::Remove)
            .with(super::traffic::Apply)
            .with(super::traffic::Clear)
            .with(super::policy::Apply)
            .with(super::policy::Remove)
            .with(super::connection::Discover)
            .with(super::connection::Apply)
            .with(super::connection::Remove)
            .with(super::connection::Check)
            .with(super::connection::Watch)
            .with(super::metrics::Query)
            .with(super::metrics::Promql)
            .with(super::dashboard::Apply)
            .with(super::dashboard::Remove)
            .with(super::scrape::Apply)
            .with(super::scrape::Remove)
            .with(super::addon::Apply)
            .with(super::addon::Remove)
            .with(super::smi::Install)
            .with(super::smi::Remove)
    }

    /// Adds a task; the last one of a verb wins.
    #[must_use]
    pub fn with<T: Task>(mut self, task: T) -> Self
    where
        T::Params: Serialize,
    {
        self.tasks.insert(T::VERB, Box::new(Erased(task)));
        self
    }

    /// The task of a verb.
    #[must_use]
    pub fn get(&self, verb: &str) -> Option<&dyn DynTask> {
        self.tasks.get(verb).map(AsRef::as_ref)
    }

    /// All tasks, by verb.
    pub fn iter(&self) -> impl Iterator<Item = &dyn DynTask> {
        self.tasks.values().map(AsRef::as_ref)
    }
}
