//! `connection.apply` and `connection.remove`: name a server of the target, so that other commands can use the name.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::probe;
use super::store::{self, Record, Store, Via};
use crate::cluster::apply::apply;
use crate::cluster::delete::{DeleteOptions, delete};
use crate::cluster::{ApplyOptions, Family, ObjectReport, ObjectsReport};
use crate::observe::instance::{InstanceKind, ServiceAddress, State, root};
use crate::observe::promql;
use crate::task::{Error, Failure, Outcome, Task, TaskContext, objects_ended, record};

/// The task `connection.apply`.
pub struct Apply;

/// Parameters of `connection.apply`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyParams {
    /// Name of the connection in this target.
    #[schemars(length(min = 1, max = 30), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Kind of the server.
    pub kind: InstanceKind,
    /// The Service. Servers outside the cluster are connections of the worker's configuration, because no command may
    /// make the worker connect to a URL.
    pub service: ServiceAddress,
    /// Labels that every query of this connection selects, such as `{"cluster": "prod-1"}` for a store that holds
    /// several clusters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 10), inner(length(max = 256)))]
    pub scope: BTreeMap<String, String>,
    /// How to reach the Service.
    #[serde(default)]
    pub via: Via,
    /// Whether to ask the server first. A server that answers as another kind, or refuses the request, gets no connection.
    /// For one that does not answer the connection is stored, and the report has the state `unreachable` with the reason.
    #[serde(default = "yes")]
    pub check: bool,
    /// Report what would be written, write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

const fn yes() -> bool {
    true
}

/// Report of `connection.apply`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionReport {
    /// Nothing was written.
    #[serde(default)]
    pub dry_run: bool,
    /// The object that stores the connection.
    pub objects: Vec<ObjectReport>,
    /// Reasons why the command may not have had the intended effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// `connected` or `unreachable`; absent if the server was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Why the server is unreachable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Task for Apply {
    const VERB: &'static str = "connection.apply";
    const SUMMARY: &'static str =
        "Stores a named connection to a Prometheus-compatible store or a Grafana of the cluster, after checking it.";
    type Params = ApplyParams;
    type Report = ConnectionReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn installation(&self, params: &ApplyParams) -> Option<String> {
        Some(store::installation(&params.name))
    }

    fn example(&self) -> ApplyParams {
        ApplyParams {
            name: "mesh".to_owned(),
            kind: InstanceKind::Prometheus,
            service: ServiceAddress {
                namespace: "istio-system".to_owned(),
                name: "prometheus".to_owned(),
                port: 9090,
                path: root(),
                tls: false,
            },
            scope: BTreeMap::new(),
            via: Via::Auto,
            check: true,
            dry_run: false,
        }
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: ApplyParams,
    ) -> Result<Outcome<ConnectionReport>, Failure<ConnectionReport>> {
        if let Some(name) = params.scope.keys().find(|name| !promql::is_label_name(name)) {
            let reason = format!("{name:?} is not the name of a Prometheus label");
            return Err(Error::Parameter { field: "scope", reason }.into());
        }
        let cluster = cx.cluster().await?;
        if cluster.connections().contains_key(&params.name) {
            let reason = format!("{:?} is a connection of the worker's configuration", params.name);
            return Err(Error::Parameter { field: "name", reason }.into());
        }
        let mut report = ConnectionReport::default();
        let record = Record { kind: params.kind, service: params.service, scope: params.scope, via: params.via };
        if params.check {
            cx.step("plan", 0, 1, format!("asking {}", record.service));
            match probe::ask(&Store::of_record(cluster.clone(), &record)).await {
                Ok(_) => report.state = Some(State::Connected),
                Err(error @ Error::Connection(_)) if probe::state(&error) == State::Unreachable => {
                    report.state = Some(State::Unreachable);
                    report.reason = Some(error.to_string());
                }
                Err(error) => return Err(error.into()),
            }
        }
        let name = store::installation(&params.name);
        let object = record::object(&cluster, &name, store::RECORD, &record);
        let options = ApplyOptions {
            family: Family::Connection,
            create_namespace: true,
            dry_run: params.dry_run,
            prune: true,
            generation: cx.generation,
            ..ApplyOptions::default()
        };
        let done = apply(&cluster, &name, vec![object], &options, &cx.guard, cx.progress.as_ref()).await;
        objects_ended(done, |done| {
            // One object always fits into a message, so nothing is omitted.
            let ObjectsReport { dry_run, objects, warnings, omitted: _ } = done;
            ConnectionReport { dry_run, objects, warnings, ..report.clone() }
        })
    }
}

/// The task `connection.remove`.
pub struct Remove;

/// Parameters of `connection.remove`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveParams {
    /// Name of the connection. The server itself stays.
    #[schemars(length(min = 1, max = 30), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Report what would be deleted, delete nothing.
    #[serde(default)]
    pub dry_run: bool,
}

impl Task for Remove {
    const VERB: &'static str = "connection.remove";
    const SUMMARY: &'static str = "Removes a named connection, but not its server.";
    type Params = RemoveParams;
    type Report = ObjectsReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn installation(&self, params: &RemoveParams) -> Option<String> {
        Some(store::installation(&params.name))
    }

    fn example(&self) -> RemoveParams {
        RemoveParams { name: "mesh".to_owned(), dry_run: false }
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: RemoveParams,
    ) -> Result<Outcome<ObjectsReport>, Failure<ObjectsReport>> {
        let cluster = cx.cluster().await?;
        let options = DeleteOptions {
            family: Family::Connection,
            dry_run: params.dry_run,
            generation: cx.generation,
            ..DeleteOptions::default()
        };
        let name = store::installation(&params.name);
        let done = delete(&cluster, &name, None, &options, &cx.guard, cx.progress.as_ref()).await;
        objects_ended(done, |report| report)
    }
}
