//! `traffic.apply` and `traffic.clear`: routes, retries, faults and mirrors for the requests of a service, written as
//! `VirtualService` and `DestinationRule`.

mod explain;
mod gate;
mod live;
mod objects;
mod params;
mod reach;
mod rollout;
mod scenario;
mod spec;
mod write;

use std::time::Duration;

use super::istio_api::{NETWORKING, newest};
use super::names::{self, Namespace};
use super::refusal::Refusal;
use super::{Error, Failure, Limits, Outcome, Task, TaskContext};
use crate::cluster::{self, Cluster, ObjectRef, ObjectReport};
use gate::Plan;
use live::{Found, Look};
use rollout::Rollout;
use spec::Spec;
use write::Work;

pub use gate::{Gate, GateReport, Observation};
pub use params::{
    Abort, ApplyParams, CircuitBreaker, ClearParams, Delay, Destination, Fault, Labels, LoadBalancer, Match, Mirror,
    Retries, Rule, ServiceReport, SubsetReport, Text, TrafficReport,
};
pub use scenario::Scenario;

const RULE: &str = "DestinationRule";
const ROUTES: &str = "VirtualService";

/// Not the service's own name: that is what people call the routes of their gateways.
fn object_name(service: &str) -> String {
    format!("sailhand-{service}")
}

/// The label on our objects that names their service.
const MARK: &str = "sailhand.meshery.io/traffic";

/// The lease of a command. A command may name several services, so the lease covers the namespace; each service has its
/// own inventory.
fn lease(namespace: &Namespace) -> String {
    names::installation("traffic", namespace)
}

fn installation(namespace: &Namespace, service: &str) -> String {
    names::installation_of("traffic", namespace, service)
}

/// `traffic.apply`.
pub struct Apply;

impl Task for Apply {
    const VERB: &'static str = "traffic.apply";
    const SUMMARY: &'static str =
        "Sets a service's traffic rules: subsets, weights, matches, faults, mirrors, timeouts, circuit breakers.";
    type Params = ApplyParams;
    type Report = TrafficReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn limits_for(&self, params: &ApplyParams) -> Limits {
        match params.gate {
            // A gated change takes as long as its windows.
            Some(_) => Limits { deadline: Duration::from_hours(2), ..Limits::default() },
            None => Limits::default(),
        }
    }

    fn installation(&self, params: &ApplyParams) -> Option<String> {
        Some(lease(&params.namespace))
    }

    fn example(&self) -> ApplyParams {
        let matches = vec![Match {
            headers: [("end-user".to_owned(), Text::Exact("jason".to_owned()))].into(),
            ..Match::default()
        }];
        let to = |subset: &str, weight| Destination {
            subset: Some(subset.to_owned()),
            weight: Some(weight),
            ..Destination::default()
        };
        let rules = vec![
            Rule { matches, destinations: vec![to("v3", 100)], ..Rule::default() },
            Rule { destinations: vec![to("v1", 90), to("v2", 10)], ..Rule::default() },
        ];
        ApplyParams {
            namespace: Namespace::known("bookinfo"),
            scenario: None,
            service: Some("reviews".to_owned()),
            subsets: [].into(),
            rules,
            circuit_breaker: None,
            load_balancer: None,
            mutual_tls: false,
            gate: None,
            dry_run: false,
            force: false,
        }
    }

    fn check(&self, params: &ApplyParams) -> Result<(), Error> {
        Spec::all(params).map(drop)
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: ApplyParams,
    ) -> Result<Outcome<TrafficReport>, Failure<TrafficReport>> {
        let specs = Spec::all(&params)?;
        let plan = match &params.gate {
            Some(gate) => Some(Plan::of(&params, gate, &specs, gate.health.store(cx).await?)?),
            None => None,
        };
        let cluster = cx.cluster().await?;
        let Some(version) = newest(&cluster, &NETWORKING, &[RULE, ROUTES]).await.map_err(Error::from)? else {
            return Err(Error::from(unserved(&params.namespace, &specs[0].service)).into());
        };
        cx.step("plan", 0, specs.len(), "reading the services, their pods and their routes");
        let mut found = Vec::with_capacity(specs.len());
        for spec in &specs {
            let look = Look {
                cluster: &cluster,
                version,
                namespace: params.namespace.as_str(),
                spec,
                installation: &installation(&params.namespace, &spec.service),
            };
            found.push(look.look().await.map_err(Error::from)?);
        }
        let warnings = preflight(&params, &specs, &mut found)?;
        let report = TrafficReport {
            api_version: Some(version.to_owned()),
            services: specs.iter().zip(&found).map(|(spec, found)| service_report(spec, found)).collect(),
            warnings,
            dry_run: params.dry_run,
            gate: None,
            objects: Vec::new(),
        };
        let mut work = Work::new(cx, &cluster, &params.namespace, report);
        if let Some(plan) = &plan {
            let rollout = Rollout { cx, plan, spec: &specs[0], version, params: &params };
            return match rollout.run(&mut work, &found[0]).await {
                Ok(()) => Ok(work.done()),
                Err(error) => Err(work.failed(error)),
            };
        }
        for (spec, found) in specs.iter().zip(&found) {
            if let Err(error) = work.apply(spec, found, version, &params, None).await {
                return Err(work.failed(error));
            }
        }
        Ok(work.done())
    }
}

/// Refuses, or warns where the command forces it.
fn preflight(params: &ApplyParams, specs: &[Spec], found: &mut [Found]) -> Result<Vec<String>, Error> {
    let namespace = params.namespace.to_string();
    let mut warnings = Vec::new();
    for (spec, found) in specs.iter().zip(found) {
        warnings.append(&mut found.warnings);
        let empty = |routed: bool| {
            let subsets = found.subsets.iter().filter(|subset| subset.ready_pods == Some(0));
            subsets.filter(move |subset| spec.routes_to(&subset.name) == routed).map(|subset| {
                let labels = subset.labels.0.iter().map(|(key, value)| format!("{key}={value}"));
                format!("{} {} ({})", spec.service, subset.name, labels.collect::<Vec<_>>().join(","))
            })
        };
        warnings.extend(empty(false).map(|subset| format!("no ready pods: {subset}, to which no rule leads")));
        let subsets: Vec<_> = empty(true).collect();
        let refusals = [
            found
                .missing
                .first()
                .map(|service| Refusal::NoService { namespace: namespace.clone(), service: service.clone() }),
            (!found.conflicts.is_empty()).then(|| Refusal::Conflict {
                subject: format!("host {} in {namespace}", spec.service),
                objects: found.conflicts.clone(),
            }),
            (!subsets.is_empty()).then_some(Refusal::NoPods { subsets }),
        ];
        for refusal in refusals.into_iter().flatten() {
            if !params.force {
                return Err(refusal.into());
            }
            warnings.push(refusal.to_string());
        }
    }
    Ok(warnings)
}

fn service_report(spec: &Spec, found: &Found) -> ServiceReport {
    ServiceReport { service: spec.service.clone(), subsets: found.subsets.clone(), rules: explain::rules(spec) }
}

fn unserved(namespace: &Namespace, service: &str) -> cluster::Error {
    cluster::Error::UnknownKind {
        near: None,
        object: reference(NETWORKING[0], ROUTES, namespace, service).to_string(),
        api_version: NETWORKING[0].to_owned(),
        kind: ROUTES.to_owned(),
    }
}

/// `traffic.clear`.
pub struct Clear;

impl Task for Clear {
    const VERB: &'static str = "traffic.clear";
    const SUMMARY: &'static str =
        "Removes the rules and subsets that traffic.apply wrote for a service or for all services of a namespace.";
    type Params = ClearParams;
    type Report = TrafficReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn installation(&self, params: &ClearParams) -> Option<String> {
        Some(lease(&params.namespace))
    }

    fn example(&self) -> ClearParams {
        ClearParams {
            namespace: Namespace::known("bookinfo"),
            service: Some("reviews".to_owned()),
            scenario: None,
            dry_run: false,
        }
    }

    async fn run(
        &self,
        cx: &TaskContext,
        params: ClearParams,
    ) -> Result<Outcome<TrafficReport>, Failure<TrafficReport>> {
        let cluster = cx.cluster().await?;
        let version = newest(&cluster, &NETWORKING, &[RULE, ROUTES]).await.map_err(Error::from)?;
        let services = match (&params.service, params.scenario) {
            (Some(_), Some(_)) => {
                let reason = "name either a scenario or a service, not both".to_owned();
                return Err(Error::Parameter { field: "scenario", reason }.into());
            }
            (Some(service), None) => vec![service.clone()],
            (None, Some(scenario)) => scenario.specs().into_iter().map(|spec| spec.service).collect(),
            (None, None) => written(&cluster, version, &params.namespace).await.map_err(Error::from)?,
        };
        let nothing = |service: &String| ServiceReport { service: service.clone(), ..ServiceReport::default() };
        let report = TrafficReport {
            api_version: version.map(str::to_owned),
            services: services.iter().map(nothing).collect(),
            dry_run: params.dry_run,
            ..TrafficReport::default()
        };
        let mut work = Work::new(cx, &cluster, &params.namespace, report);
        for service in &services {
            if let Err(error) = work.clear(service, version, params.dry_run).await {
                return Err(work.failed(error));
            }
        }
        Ok(work.done())
    }
}

/// Services of the namespace that we wrote about.
async fn written(
    cluster: &Cluster,
    version: Option<&str>,
    namespace: &Namespace,
) -> Result<Vec<String>, cluster::Error> {
    let mut services = std::collections::BTreeSet::new();
    for kind in [RULE, ROUTES] {
        let Some(version) = version else { continue };
        let Some(kind) = cluster.kind(version, kind).await? else { continue };
        cluster
            .list(&kind, Some(namespace.as_str()), Some(MARK), |live| {
                services.extend(live["metadata"]["labels"][MARK].as_str().map(str::to_owned));
            })
            .await?;
    }
    Ok(services.into_iter().collect())
}

fn reference(version: &str, kind: &str, namespace: &Namespace, service: &str) -> ObjectRef {
    ObjectRef::new(version, kind, Some(namespace.as_str()), &object_name(service))
}

#[cfg(test)]
mod tests;
