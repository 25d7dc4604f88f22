//! `addon.apply` and `addon.remove`: programs to watch a mesh with, described in this crate and pinned. For trying out:
//! what they gather lives as long as their pods.

mod grafana;
mod health;
mod kiali;
mod loki;
mod model;
mod params;
mod prometheus;
mod tracing;

use kube::core::DynamicObject;
use tokio::time::Instant;

use super::names::{self, Namespace};
use super::{Error, Failure, Outcome, Task, TaskContext, objects_ended};
use crate::cluster::delete::{self, DeleteOptions};
use crate::cluster::{ApplyOptions, Cluster, Family, ObjectRef, ObjectReport, ObjectsReport, apply};
use model::{Addon, Choices};

pub use params::{AddonReport, ApplyParams, Expose, Name, RemoveParams};

impl Name {
    const fn addon(self) -> &'static Addon {
        match self {
            Self::Prometheus => &prometheus::PROMETHEUS,
            Self::Grafana => &grafana::GRAFANA,
            Self::Kiali => &kiali::KIALI,
            Self::Jaeger => &tracing::JAEGER,
            Self::Zipkin => &tracing::ZIPKIN,
            Self::Loki => &loki::LOKI,
        }
    }

    const fn shows_metrics(self) -> bool {
        matches!(self, Self::Grafana | Self::Kiali)
    }

    fn installation(self, namespace: &Namespace) -> String {
        names::installation(&format!("addon-{}", self.addon().name), namespace)
    }

    fn report(self, namespace: &Namespace, done: ObjectsReport) -> AddonReport {
        let addon = self.addon();
        AddonReport {
            addon: self,
            version: addon.version.to_owned(),
            namespace: namespace.clone(),
            url: addon.url(namespace.as_str()),
            node_port: None,
            load_balancer: None,
            healthy: false,
            warnings: Vec::new(),
            dry_run: done.dry_run,
            objects: done.objects,
        }
    }
}

/// `addon.apply`.
pub struct Apply;

impl Task for Apply {
    const VERB: &'static str = "addon.apply";
    const SUMMARY: &'static str =
        "Installs Prometheus, Grafana, Kiali, Jaeger, Zipkin or Loki, waits for it and checks its health endpoint.";
    type Params = ApplyParams;
    type Report = AddonReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn installation(&self, params: &ApplyParams) -> Option<String> {
        Some(params.addon.installation(&params.namespace))
    }

    fn example(&self) -> ApplyParams {
        ApplyParams {
            addon: Name::Prometheus,
            namespace: params::mesh(),
            create_namespace: false,
            expose: Expose::ClusterIp,
            prometheus_url: None,
            registry: None,
            wait: params::five_minutes(),
            dry_run: false,
            adopt: false,
            force: false,
        }
    }

    async fn run(&self, cx: &TaskContext, params: ApplyParams) -> Result<Outcome<AddonReport>, Failure<AddonReport>> {
        params.check()?;
        let cluster = cx.cluster().await?;
        let waits = !params.dry_run && !params.wait.is_zero();
        let until = Instant::now() + params.wait;
        let options = ApplyOptions {
            family: Family::Addon,
            namespace: Some(params.namespace.to_string()),
            create_namespace: params.create_namespace,
            dry_run: params.dry_run,
            prune: true,
            force: params.force,
            adopt: params.adopt,
            // Other versions of an addon select their pods by other labels, and no stored data is lost with a pod.
            recreate: true,
            wait: waits.then_some(params.wait),
            generation: cx.generation,
            origin: None,
        };
        let installation = params.addon.installation(&params.namespace);
        let objects = wanted(&params);
        let done = apply::apply(&cluster, &installation, objects, &options, &cx.guard, &*cx.progress).await;
        let warnings = lacks(&cluster, &params).await?;
        let report = |done| AddonReport { warnings: warnings.clone(), ..params.addon.report(&params.namespace, done) };
        let outcome = objects_ended(done, report)?;
        let (node_port, load_balancer) = exposed(&cluster, &params).await?;
        let outcome = outcome.map(|report| AddonReport { node_port, load_balancer, ..report });
        if !waits {
            return Ok(outcome);
        }
        match health::ask(cx, &cluster, params.addon.addon(), params.namespace.as_str(), until).await {
            Ok(()) => Ok(outcome.map(|report| AddonReport { healthy: true, ..report })),
            Err(error) => Err(Failure { error, report: Some(outcome) }),
        }
    }
}

fn wanted(params: &ApplyParams) -> Vec<DynamicObject> {
    params.addon.addon().objects(Choices {
        namespace: params.namespace.as_str(),
        expose: params.expose,
        registry: params.registry.as_deref(),
        prometheus: params.prometheus_url.as_deref(),
    })
}

impl ApplyParams {
    fn check(&self) -> Result<(), Error> {
        if self.prometheus_url.is_some() && !self.addon.shows_metrics() {
            let reason = format!("{} asks no Prometheus; Grafana and Kiali do", self.addon.addon().name);
            return Err(Error::Parameter { field: "prometheus_url", reason });
        }
        Ok(())
    }
}

/// The warning for an addon that shows data of another one.
async fn lacks(cluster: &Cluster, params: &ApplyParams) -> Result<Vec<String>, Error> {
    let namespace = &params.namespace;
    if !params.addon.shows_metrics() || params.prometheus_url.is_some() {
        return Ok(Vec::new());
    }
    let service = service(&prometheus::PROMETHEUS, namespace);
    let there = cluster.get(&service).await?.is_some();
    let text = || {
        let hint = "addon.apply makes one, or prometheus_url names another Prometheus";
        format!("there is no Service {namespace}/{}, so it has nothing to show: {hint}", service.name)
    };
    Ok(if there { Vec::new() } else { vec![text()] })
}

/// Node port and address of the load balancer, as far as the cluster has given them.
async fn exposed(cluster: &Cluster, params: &ApplyParams) -> Result<(Option<u16>, Option<String>), Error> {
    if params.dry_run || params.expose == Expose::ClusterIp {
        return Ok((None, None));
    }
    let live = cluster.get(&service(params.addon.addon(), &params.namespace)).await?.unwrap_or_default();
    Ok(match params.expose {
        Expose::ClusterIp => (None, None),
        Expose::NodePort => (live["spec"]["ports"][0]["nodePort"].as_u64().and_then(|port| port.try_into().ok()), None),
        Expose::LoadBalancer => {
            let ingress = &live["status"]["loadBalancer"]["ingress"][0];
            (None, ingress["ip"].as_str().or(ingress["hostname"].as_str()).map(str::to_owned))
        }
    })
}

/// The one to open.
fn service(addon: &Addon, namespace: &Namespace) -> ObjectRef {
    ObjectRef::new("v1", "Service", Some(namespace.as_str()), addon.services[0].name)
}

/// `addon.remove`.
pub struct Remove;

impl Task for Remove {
    const VERB: &'static str = "addon.remove";
    const SUMMARY: &'static str = "Removes the objects that addon.apply created, with all data of the addon.";
    type Params = RemoveParams;
    type Report = AddonReport;

    fn objects(report: &Self::Report) -> Vec<&ObjectReport> {
        report.objects.iter().collect()
    }

    fn installation(&self, params: &RemoveParams) -> Option<String> {
        Some(params.addon.installation(&params.namespace))
    }

    fn example(&self) -> RemoveParams {
        RemoveParams { addon: Name::Prometheus, namespace: params::mesh(), wait: params::two_minutes(), dry_run: false }
    }

    async fn run(&self, cx: &TaskContext, params: RemoveParams) -> Result<Outcome<AddonReport>, Failure<AddonReport>> {
        let cluster = cx.cluster().await?;
        let options = DeleteOptions {
            family: Family::Addon,
            namespace: Some(params.namespace.to_string()),
            dry_run: params.dry_run,
            adopt: false,
            purge: false,
            wait: Some(params.wait).filter(|wait| !params.dry_run && !wait.is_zero()),
            generation: cx.generation,
        };
        let installation = params.addon.installation(&params.namespace);
        let done = delete::delete(&cluster, &installation, None, &options, &cx.guard, &*cx.progress).await;
        objects_ended(done, |done| params.addon.report(&params.namespace, done))
    }
}

#[cfg(test)]
mod tests;
