//! One component of an installation: fetches and renders its chart, applies its objects under an inventory of their own,
//! and waits until they are ready.

use kube::core::DynamicObject;
use serde_json::Value;

use super::common_params::CommonParams;
use super::prefixed_progress::PrefixedProgress;
use super::report::PartReport;
use crate::analysis::istio::managed;
use crate::analysis::istio::membership::TAG;
use crate::chart::{Chart, Charts, Release};
use crate::cluster::{
    ApplyOptions, Cluster, Error as ClusterError, Family, ObjectRef, ObjectsReport, apply, manifest, wait,
};
use crate::mesh::{Component, Keep, Kubernetes, PlannedChart, Provenance, Request, support};
use crate::task::{Error, TaskContext, names};

/// A step with what it puts into the cluster.
pub(super) struct Part {
    pub step: PlannedChart,
    pub objects: Vec<DynamicObject>,
    /// The chart they were rendered from; `None` for a bundle.
    pub chart: Option<Chart>,
}

/// Fetches and renders a step's chart. Writes nothing.
pub(super) async fn render(
    charts: &Charts,
    step: PlannedChart,
    kubernetes: &Kubernetes,
    bundle: Option<&str>,
) -> Result<Part, Error> {
    let (text, chart) = match step.component.chart() {
        None => (bundle.unwrap_or_default().into(), None),
        Some(name) => {
            let chart = charts.fetch(name, &step.version.to_string()).await?;
            let release = Release {
                name: step.release.clone(),
                namespace: step.namespace.clone(),
                values: step.values.clone(),
                kubernetes: kubernetes.text.clone(),
                skip_schema: support::has_wrong_schema(&step.version),
            };
            (charts.render(&chart, &release).await?, Some(chart))
        }
    };
    let mut objects = match step.component {
        Component::GatewayApi => bundle_of(&text)?,
        _ => manifest::read(&text)?,
    };
    if let Keep::Tag(tag) = &step.keep {
        objects.retain(|object| label(object, TAG) == Some(tag));
    }
    for object in &mut objects {
        sign(object);
    }
    Ok(Part { step, objects, chart })
}

/// The objects of a bundle of the Gateway API. Rejects other content, because these objects are
/// never deleted.
fn bundle_of(text: &str) -> Result<Vec<DynamicObject>, Error> {
    let wrong = |reason| Error::Parameter { field: "gateway_api", reason };
    let hint = "want the text of a release's standard-install.yaml, such as -p gateway_api=@standard-install.yaml";
    let objects = manifest::read(text).map_err(|error| wrong(format!("{error}; {hint}")))?;
    let named = |object: &DynamicObject| object.metadata.name.as_deref().unwrap_or_default().to_owned();
    if !objects.iter().any(|object| named(object) == "gateways.gateway.networking.k8s.io") {
        return Err(wrong(format!("it has no CRD of Gateways; {hint}")));
    }
    Ok(objects)
}

fn label<'a>(object: &'a DynamicObject, key: &str) -> Option<&'a str> {
    object.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// The label by which charts mark their objects as managed by Helm.
fn sign(object: &mut DynamicObject) {
    // Users' objects are of these kinds. Charts forget to say so of some (workloadgroups from 1.24 to 1.28.1).
    if object.types.as_ref().is_some_and(|types| types.kind == "CustomResourceDefinition") {
        let annotations = object.metadata.annotations.get_or_insert_default();
        annotations.insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
    }
    let labels = object.metadata.labels.get_or_insert_default();
    labels.insert(managed::BY.to_owned(), managed::SAILHAND.to_owned());
}

impl Part {
    /// Chart, version and values, from which later commands render it again.
    fn origin(&self, request: &Request) -> Provenance {
        let request = Some(request).filter(|_| self.step.component == Component::Istiod);
        // The bundle is in the cluster; it would not fit into an inventory.
        let request = request.map(|request| Box::new(Request { gateway_api: None, ..request.clone() }));
        Provenance {
            component: self.step.component,
            name: self.step.name.clone(),
            revision: self.step.revision.clone(),
            release: self.step.release.clone(),
            version: self.step.version.clone(),
            digest: self.chart.as_ref().map(|chart| chart.digest.clone()).unwrap_or_default(),
            namespace: self.step.namespace.clone(),
            values: self.step.values.clone(),
            request,
        }
    }

    /// The name of its inventory.
    pub fn installation(&self) -> String {
        names::fitting(self.step.installation.clone())
    }

    /// Its objects of a kind.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a DynamicObject> {
        let is = move |object: &&DynamicObject| object.types.as_ref().is_some_and(|types| types.kind == kind);
        self.objects.iter().filter(is)
    }

    /// A report with nothing done yet.
    pub fn report(&self) -> PartReport {
        PartReport {
            component: self.step.component,
            name: self.step.name.clone(),
            installation: self.installation(),
            version: self.step.component.chart().map(|_| self.step.version.clone()),
            ready: false,
            objects: Vec::new(),
            omitted: 0,
        }
    }

    /// Its name in messages.
    pub fn title(&self) -> String {
        match self.step.name.as_str() {
            "" => self.step.component.as_str().to_owned(),
            name => format!("{} {name}", self.step.component.as_str()),
        }
    }

    fn options(&self, cx: &TaskContext, request: &Request, common: &CommonParams) -> ApplyOptions {
        let waits = !common.dry_run && !common.wait.is_zero();
        ApplyOptions {
            family: Family::Mesh,
            namespace: Some(self.step.namespace.clone()),
            create_namespace: true,
            dry_run: common.dry_run,
            prune: true,
            force: common.adopt,
            adopt: common.adopt,
            recreate: false,
            wait: waits.then_some(common.wait),
            generation: cx.generation,
            origin: Some(serde_json::to_value(self.origin(request)).unwrap_or(Value::Null)),
        }
    }

    /// Asks the API server by dry run whether it accepts the objects, which are those of this part or follow from them.
    ///
    /// # Errors
    /// With a report in which each object that would fail has a problem.
    pub async fn try_out(
        &self,
        cx: &TaskContext,
        cluster: &Cluster,
        request: &Request,
        adopt: bool,
        objects: Vec<DynamicObject>,
    ) -> Result<(), (Error, Box<PartReport>)> {
        let common = CommonParams { dry_run: true, adopt, ..CommonParams::default() };
        let options = ApplyOptions { prune: false, ..self.options(cx, request, &common) };
        match apply::apply(cluster, &self.installation(), objects, &options, &cx.guard, &()).await {
            Ok(_) => Ok(()),
            Err(failure) => {
                let (error, done) = *failure;
                let mut report = self.report();
                report.take(done.unwrap_or_default());
                Err((error.into(), Box::new(report)))
            }
        }
    }

    /// Applies it and waits for it. `label` precedes the messages of its progress steps.
    ///
    /// # Errors
    /// With the report of what was done.
    pub async fn apply(
        self,
        cx: &TaskContext,
        cluster: &Cluster,
        request: &Request,
        common: &CommonParams,
        label: &str,
    ) -> Result<PartReport, (Error, PartReport)> {
        let mut report = self.report();
        let progress = PrefixedProgress::new(&cx.progress, label);
        let options = self.options(cx, request, common);
        let waits = options.wait.is_some();
        let injectors = if waits { self.injectors() } else { Vec::new() };
        let installation = self.installation();
        let done = apply::apply(cluster, &installation, self.objects, &options, &cx.guard, &progress).await;
        match done {
            Ok(done) => report.take(done),
            Err(failure) => {
                let (error, done) = *failure;
                report.take(done.unwrap_or_else(ObjectsReport::default));
                return Err((error.into(), report));
            }
        }
        let injected: Result<(), ClusterError> =
            wait::until_injected(cluster, &injectors, common.wait, &cx.guard, &progress).await;
        report.ready = waits && injected.is_ok();
        match injected {
            Ok(()) => Ok(report),
            Err(error) => Err((error.into(), report)),
        }
    }

    /// Injectors that its own control plane fills in: until then no pod starts that they take.
    fn injectors(&self) -> Vec<ObjectRef> {
        let served = self.of_kind("Deployment").next().is_some() || self.step.component == Component::Tag;
        let reference = |object: &DynamicObject| ObjectRef {
            api_version: "admissionregistration.k8s.io/v1".to_owned(),
            kind: "MutatingWebhookConfiguration".to_owned(),
            namespace: None,
            name: object.metadata.name.clone().unwrap_or_default(),
        };
        self.of_kind("MutatingWebhookConfiguration").filter(|_| served).map(reference).collect()
    }
}
