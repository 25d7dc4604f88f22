//! `conformance.run`: runs a conformance suite in namespaces of its own, and publishes a result for each case as it
//! ends, a verdict for each specification and a summary.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DURATION, Error, Failure, Limits, Outcome, Task, TaskContext};
use crate::conformance::contract::Contract;
use crate::conformance::environment::{Environment, Memory};
use crate::conformance::exec::Exec;
use crate::conformance::kubernetes::Kubernetes;
use crate::conformance::model::RunReport;
use crate::conformance::port_forward::PortForward;
use crate::conformance::runner::{self, Context, DataPlane, Options};
use crate::conformance::simulated::{Behavior, Simulated};
use crate::conformance::suite::{Suite, SuiteKind};
use crate::conformance::traffic::TrafficDriver;

/// The echo server and client of Gateway API's conformance tests.
const IMAGE: &str = "registry.k8s.io/gateway-api/echo-advanced:v1.5.1";
/// The workload of Meshery's conformance suite, for [`Driver::PortForward`].
const CONTRACT_IMAGE: &str = "layer5/learn-layer5:latest";
/// Longest phase of a case.
const LONGEST: Duration = Duration::from_mins(10);

/// The task `conformance.run`.
pub struct Run;

/// How the target's pods are in the mesh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Plane {
    /// A proxy in each pod.
    #[default]
    Sidecar,
    /// ztunnel on each node.
    Ambient,
}

/// How requests are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// By exec of the echo client in the sender's pod.
    #[default]
    Exec,
    /// By port-forward to the sender, which speaks the contract of Meshery's learn-layer5 and sends the request. For
    /// results that are to be compared with those of Meshery; suite `smi` only.
    PortForward,
    /// Not at all: cluster and data plane are in memory, and the target is not touched. To see events and reports
    /// without a mesh; the report says nothing about the cluster, and `run.driver` says so.
    Simulated,
}

/// Parameters of `conformance.run`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunParams {
    /// `smi` or `gateway-api-mesh`.
    #[schemars(length(min = 1, max = 64))]
    pub suite: String,
    /// Ids of the cases to run, such as `TA-1.2.3`; all when empty. What is not run leaves the capability unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), inner(length(min = 1, max = 100)))]
    pub cases: Vec<String>,
    /// Limit of each phase of a case, at most 10m.
    #[serde(default = "default_timeout")]
    #[schemars(regex(pattern = DURATION))]
    pub timeout: String,
    /// Limit for the workloads to become ready, at most 10m.
    #[serde(default = "default_ready_timeout")]
    #[schemars(regex(pattern = DURATION))]
    pub ready_timeout: String,
    /// Cases that run at the same time: groups of cases that share pods, or cases that are independent.
    #[serde(default = "default_parallel")]
    #[schemars(range(min = 1, max = 8))]
    pub parallel: usize,
    /// Leave the test namespaces in the cluster for a look. They are deleted by a run a day later.
    #[serde(default)]
    pub keep_namespace: bool,
    /// Image with the `server` and `client` of Istio's echo test application, such as one of a mirror. With
    /// `driver: port-forward` an image with the contract of learn-layer5, by default `layer5/learn-layer5:latest`.
    #[serde(default = "default_image")]
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// How the pods are in the mesh.
    #[serde(default)]
    pub data_plane: Plane,
    /// Revision of the control plane; empty for the only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub revision: String,
    /// How requests are sent.
    #[serde(default)]
    pub driver: Driver,
}

fn default_timeout() -> String {
    "30s".to_owned()
}

fn default_ready_timeout() -> String {
    "3m".to_owned()
}

const fn default_parallel() -> usize {
    4
}

fn default_image() -> String {
    IMAGE.to_owned()
}

impl RunParams {
    fn duration(field: &'static str, text: &str) -> Result<Duration, Error> {
        let duration =
            humantime::parse_duration(text).map_err(|error| Error::Parameter { field, reason: error.to_string() })?;
        if duration > LONGEST {
            return Err(Error::Parameter { field, reason: format!("{text} is more than 10m") });
        }
        Ok(duration)
    }

    fn suite(&self) -> Result<Suite, Error> {
        let kind = SuiteKind::named(&self.suite)?;
        if self.driver == Driver::PortForward && kind != SuiteKind::Smi {
            let reason = format!("port-forward runs suite smi only, not {}", kind.name());
            return Err(Error::Parameter { field: "driver", reason });
        }
        let mut suite = kind.suite();
        suite.select(&self.cases)?;
        Ok(suite)
    }

    fn image(&self) -> &str {
        if self.driver == Driver::PortForward && self.image == IMAGE { CONTRACT_IMAGE } else { &self.image }
    }

    fn options(&self, cx: &TaskContext) -> Result<Options, Error> {
        Ok(Options {
            run_id: cx.key.to_string(),
            attempt: cx.attempt,
            target: cx.target.clone(),
            suite: self.suite()?,
            data_plane: match self.data_plane {
                Plane::Sidecar => DataPlane::Sidecar,
                Plane::Ambient => DataPlane::Ambient,
            },
            revision: self.revision.clone(),
            image: self.image().to_owned(),
            phase_timeout: Self::duration("timeout", &self.timeout)?,
            ready_timeout: Self::duration("ready_timeout", &self.ready_timeout)?,
            parallel: self.parallel.clamp(1, 8),
            keep_namespace: self.keep_namespace,
        })
    }
}

impl Task for Run {
    const VERB: &'static str = "conformance.run";
    const SUMMARY: &'static str = "Runs a conformance suite (SMI, Gateway API mesh) against a mesh with real requests, and reports a verdict per case.";
    type Params = RunParams;
    type Report = RunReport;

    fn limits(&self) -> Limits {
        Limits { deadline: Duration::from_mins(45), attempts: 2 }
    }

    /// Two runs of one suite on one target would measure each other's load.
    fn installation(&self, params: &RunParams) -> Option<String> {
        let kind = SuiteKind::named(&params.suite).ok()?;
        (params.driver != Driver::Simulated).then(|| format!("conformance-{}", kind.name()))
    }

    fn example(&self) -> RunParams {
        RunParams {
            suite: "smi".to_owned(),
            cases: Vec::new(),
            timeout: default_timeout(),
            ready_timeout: default_ready_timeout(),
            parallel: default_parallel(),
            keep_namespace: false,
            image: default_image(),
            data_plane: Plane::Sidecar,
            revision: String::new(),
            driver: Driver::Exec,
        }
    }

    async fn run(&self, cx: &TaskContext, params: RunParams) -> Result<Outcome<RunReport>, Failure<RunReport>> {
        let options = params.options(cx)?;
        if params.driver == Driver::Simulated {
            let of_waypoints = ("gateways.gateway.networking.k8s.io", "v1");
            let crds: Vec<_> = options.suite.crds.iter().copied().chain([of_waypoints]).collect();
            let memory = Arc::new(Memory::with_crds(&crds));
            let driver = Simulated::new(memory.clone(), Behavior::Conforming, 1);
            return ended(cx, run(cx, memory.as_ref(), &driver, &options).await);
        }
        let cluster = cx.cluster().await?;
        let environment = Kubernetes { cluster: &cluster, guard: &cx.guard };
        let driver: Box<dyn TrafficDriver + '_> = match params.driver {
            Driver::PortForward => Box::new(Contract::new(PortForward::new(&cluster, &cx.guard))),
            Driver::Exec | Driver::Simulated => Box::new(Exec::new(&cluster, &cx.guard)),
        };
        ended(cx, run(cx, &environment, driver.as_ref(), &options).await)
    }
}

async fn run(
    cx: &TaskContext,
    environment: &dyn Environment,
    driver: &dyn TrafficDriver,
    options: &Options,
) -> Result<RunReport, runner::Incomplete> {
    let guard = &cx.guard;
    let (events, progress, clock) = (cx.events.as_ref(), cx.progress.as_ref(), cx.clock);
    runner::run(&Context { environment, driver, guard, events, progress, clock }, options).await
}

#[allow(clippy::result_large_err, reason = "the trait of tasks gives the type")]
fn ended(
    cx: &TaskContext,
    done: Result<RunReport, runner::Incomplete>,
) -> Result<Outcome<RunReport>, Failure<RunReport>> {
    let outcome = |report| Outcome::new(cx.guard.has_started_writing(), report);
    match done {
        Ok(report) => Ok(outcome(report)),
        Err(incomplete) => {
            let report = incomplete.report.map(|report| outcome(*report));
            Err(Failure { error: incomplete.error.into(), report })
        }
    }
}
