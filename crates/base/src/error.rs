//! Errors of all layers: a stable [`Code`] to search for, a [`Class`] that decides what the worker does, and a remedy.
//! Each layer has its own error enum and implements [`Classify`]; [`Problem`] is the serialized form in results and on
//! the terminal.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the worker does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Retry, but not before `after` if the server set a delay.
    Retry {
        /// Delay set by the server (`Retry-After`); none if it set no delay.
        after: Option<Duration>,
    },
    /// A retry would fail in the same way: publish a result `failed`.
    Terminal,
    /// The command is invalid and nothing was written: publish a result `rejected` for the sender and a dead letter for
    /// the operator.
    Rejected,
    /// Another command holds the lease of the installation: requeue without counting an attempt.
    Busy,
    /// A newer generation has already been applied.
    Superseded,
    /// A client requested cancellation.
    Cancelled,
    /// The command's deadline has passed.
    Expired,
    /// The lease is lost: stop without settling the message, because another worker owns the command.
    LostLease,
    /// The process is shutting down: requeue without counting an attempt.
    Shutdown,
}

impl Class {
    /// A retry with the default backoff.
    pub const RETRY: Self = Self::Retry { after: None };

    /// The word used in events, logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry",
            Self::Terminal => "terminal",
            Self::Rejected => "rejected",
            Self::Busy => "busy",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::LostLease => "lost-lease",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Implemented by the error enum of each layer.
pub trait Classify: std::error::Error {
    /// What the worker does about the error.
    fn class(&self) -> Class;
    /// The stable code; its page is `docs/errors/<code>.md`.
    fn code(&self) -> Code;
    /// What the user can do, in one sentence. The default is the remedy of the code.
    fn remedy(&self) -> String {
        self.code().remedy().to_owned()
    }
}

macro_rules! codes {
    ($( $code:ident $title:literal $remedy:literal; )+) => {
        /// A stable error code. Never renumbered and never reused; each has a page in `docs/errors/`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the title beside each code is its documentation")]
        pub enum Code { $( #[doc = $title] $code, )+ }

        impl Code {
            /// All codes, in order.
            pub const ALL: &'static [Self] = &[ $( Self::$code, )+ ];

            /// The code as text, such as `SH1001`.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $( Self::$code => stringify!($code), )+ } }

            /// What failed, in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str { match self { $( Self::$code => $title, )+ } }

            /// The default remedy, in one or two sentences.
            #[must_use]
            pub const fn remedy(self) -> &'static str { match self { $( Self::$code => $remedy, )+ } }
        }
    };
}

codes! {
    // SH10xx: the command itself.
    SH1001 "the message is not a CloudEvent" "Send a CloudEvents 1.0 JSON event in structured or binary mode.";
    SH1002 "a CloudEvents attribute is missing or invalid" "Set the named attribute as docs/contract.md describes.";
    SH1003 "unknown command type" "Use one of the verbs that `sailhand verbs` lists.";
    SH1004 "unsupported command version" "Send a version that the worker supports, or upgrade the worker.";
    SH1005 "the parameters do not match the command's schema" "Compare the data with `sailhand verbs <verb>`, or with schemas/commands/<verb>.v1.json.";
    SH1006 "the command exceeds the size limit" "Upload the data to the object store and send a dataref.";
    SH1007 "the referenced data is not available" "Upload it to the object store again and check its digest.";
    SH1008 "unknown target" "Add the target to the worker's configuration, or use one that it has.";
    SH1009 "subject and event disagree about target or verb" "Publish on istio.cmd.<target>.<verb> with the target and verb of the event.";
    SH1010 "the command expired before it was executed" "Submit it again with a later expirytime (`sailhand submit --expires`).";
    SH1011 "a newer generation has been applied" "No action is required. To override, send the command with a higher generation.";
    SH1012 "the command was cancelled" "Send it again with a new id; objects that are up to date are not written again.";
    SH1013 "the command crashed the worker repeatedly" "Find the cause in the worker's log, then replay the dead letter.";
    SH1014 "all attempts failed" "Fix the cause of the last attempt, then replay the dead letter.";
    SH1015 "deadline exceeded while the command ran" "Send it again with a longer deadline; objects that were written stay.";
    SH1016 "the maximum number of deliveries was reached" "Run `sailhand topology apply`, which corrects the consumer's max_deliver, then replay the dead letter.";
    SH1017 "another client terminated the command" "Find the client that terminates or acknowledges commands beside the workers, then send the command again.";
    SH1018 "the message uses forbidden scheduling or roll-up headers" "Publish commands without the headers Nats-Schedule, Nats-Schedule-* and Nats-Rollup. If no client of yours uses them, find out which other clients may publish on the command stream.";
    SH1019 "source and id belong to another command" "Send the command with a new id; only a repeat of the same command may have the same source and id.";
    SH1021 "the target's allow-list does not permit the command" "Use another verb, kind or namespace, or add it to verbs, kinds or namespaces of the target in the worker's configuration.";
    // SH20xx: the bus.
    SH2001 "cannot connect to NATS" "Check the address and the network, and that the server is running.";
    SH2002 "NATS did not confirm a write" "Check the stream's limits and the server's health; the write is retried.";
    SH2003 "the streams differ from the expected topology" "Run `sailhand topology apply` with admin permissions; `sailhand topology verify` lists every difference.";
    SH2004 "NATS permissions violation" "Grant the permissions that deploy/nats lists for a worker.";
    SH2005 "the lease was lost" "No action is required: another worker continues the command.";
    SH2006 "the installation is busy" "No action is required: the command waits for the other one.";
    SH2007 "invalid NATS credentials" "Check the files named in the configuration.";
    SH2008 "record not found" "Check the id; results are stored for 30 days, events and commands for 7.";
    SH2011 "the message exceeds the size limit of NATS" "Narrow the command, or raise max_payload of the server and max_message_size of the stream.";
    SH2012 "JetStream is not enabled on the NATS server" "Start nats-server with -js, or enable jetstream in its configuration.";
    // SH30xx: the cluster.
    SH3001 "cannot connect to the API server" "Check the server address in the kubeconfig and the network.";
    SH3002 "the API server rejected the credentials (unauthorized)" "Renew the credentials in the target's kubeconfig.";
    SH3003 "the API server denied the request (forbidden)" "Grant the named verb on the named resource.";
    SH3004 "the cluster has no such kind" "Install its CRD first, or add the CRD to the same command; mesh.install installs Istio's CRDs.";
    SH3005 "the API server rejected the object" "Correct the named field.";
    SH3006 "field ownership conflict" "Remove the field from one of the managers, or set force (for mesh verbs, adopt).";
    SH3007 "the field is immutable" "Restore the field, or delete the object first; config.apply does that with recreate.";
    SH3008 "the object is managed by another tool" "Change it with that tool, or set adopt to take it over.";
    SH3009 "timed out waiting for readiness" "Check the named objects. If they are only slow, send the command again with a longer wait.";
    SH3010 "the API server is overloaded or unavailable" "No action is required: the request is retried.";
    SH3011 "failed to call an admission webhook" "Check that the webhook's Service has endpoints.";
    SH3012 "an admission webhook denied the object" "Correct what the webhook, policy or quota reports.";
    SH3013 "namespace not found" "Create it first, or set create_namespace (create for namespace.label).";
    SH3014 "invalid kubeconfig" "Check the file and the context named in the configuration.";
    SH3015 "a newer lease holder has written" "No action is required: another worker continues the command.";
    SH3016 "some objects failed" "See the reason for each object in the report.";
    SH3017 "a workload has failed" "Check the reason of the named container.";
    SH3018 "the API server's certificate is not trusted" "Check the certificate authority in the kubeconfig.";
    SH3019 "timed out waiting for deletion" "Check the controllers that own the finalizers of the named objects.";
    SH3020 "the API server returned an internal error" "No action is required: the request is retried.";
    SH3021 "the installation belongs to other verbs" "Choose another name, or use the verbs that own the installation.";
    SH3022 "the installation belongs to another target" "Give each target its own inventory_namespace; after a target was renamed, send the command with adopt.";
    SH3023 "the object is an inventory of the worker" "Remove it from the manifest.";
    SH3024 "the kind is not served at the moment" "Restore the named aggregated API or CRD; the command is retried until then.";
    SH3025 "an admission webhook gave an invalid answer" "Repair the webhook, or delete its configuration.";
    // SH31xx: manifests.
    SH3101 "the manifest is not valid YAML or JSON" "Fix the syntax error at the named line.";
    SH3102 "the manifest exceeds a limit" "Split it into several commands.";
    SH3103 "a document is not a Kubernetes object" "Correct the named field; each document needs apiVersion, kind and metadata.name.";
    SH3104 "duplicate object" "Remove one of the two.";
    // SH32xx: Istio's charts and lifecycle.
    SH3201 "the chart is not available" "Check charts.source in the worker's configuration, or provide the chart in a folder or mirror.";
    SH3202 "the chart's digest does not match" "Find out why the chart changed, then correct charts.digests or clear the chart cache.";
    SH3203 "the chart archive is unsafe" "Download the chart from its publisher again.";
    SH3204 "helm template failed" "Correct the values that the message names, or charts.helm in the worker's configuration.";
    SH3205 "incompatible versions" "Use the version that the message names. force allows untested versions, but not incompatible ones.";
    SH3206 "unsupported upgrade path" "Upgrade through the version that the message names, upgrade by revision, or set force.";
    SH3207 "conflict with another installation" "Remove it with the tool that installed it, choose another revision, or set adopt.";
    SH3208 "the cluster does not meet the requirements" "Fix what the findings report, or set force.";
    SH3209 "the mesh or revision is still in use" "Move its workloads first, or set force.";
    SH3210 "not installed by this worker" "Run `mesh.status` to list what is installed; mesh.install with adopt takes over another tool's installation.";
    SH3211 "proxies are still on the old revision" "Check the named pods and restart their workloads.";
    SH3221 "the installation would delete components" "Name the components and gateways to keep, or set prune_components to delete those that the message names.";
    // SH33xx: traffic, policies and addons.
    SH3301 "a subset has no ready pods" "Deploy the subset's workload and wait until it is ready, or set force.";
    SH3302 "conflict with an existing object" "Remove the named object, change it instead, or set force.";
    SH3303 "service not found" "Deploy it first, or use another namespace or service.";
    SH3304 "the addon's health check failed" "Check the pod's log and that the API server can reach the pod, then send the command again.";
    // SH34xx: conformance suites.
    SH3401 "unknown conformance suite" "Use smi or gateway-api-mesh.";
    SH3402 "unknown conformance case" "`sailhand conformance cases <suite>` lists the cases.";
    SH3403 "the target has no mesh" "Install Istio with mesh.install, then send the command again.";
    SH3404 "CRDs of the conformance suite are missing" "Install them: those of SMI with smi.install, those of Gateway API with mesh.install or from its release.";
    SH3405 "CRDs of the conformance suite serve another version" "Install the version that the message names.";
    SH3406 "an image of the conformance suite cannot be pulled" "Set `image` to one that the nodes can pull, such as one of a mirror.";
    SH3407 "exec or port-forward is forbidden in the suite's pods" "Grant the worker `create` and `get` on `pods/exec`, or on `pods/portforward` with `driver: port-forward`.";
    SH3408 "a test namespace cannot be deleted" "Remove what the namespace's conditions name, then delete the namespace.";
    SH3409 "the conformance suite's workloads are not ready in time" "Look at the named pods' events; the cluster needs room for 13 pods.";
    SH3410 "the conformance suite's pods are not in the mesh" "Check the injection webhook, or set `data_plane` and `revision` as the mesh has them.";
    SH3411 "exec or port-forward failed in the suite's pods" "Check that the API server reaches the node's kubelet; the command is tried again.";
    SH3412 "a workload of the suite does not follow the contract of learn-layer5" "Set `image` to layer5/learn-layer5 or an image with its contract, or use `driver: exec`.";
    // SH35xx: connections to metrics stores and Grafanas.
    SH3501 "the connection does not exist" "Name a connection of this target: `connection.apply` makes one, the worker's configuration may have others.";
    SH3502 "the server does not answer" "Check that its Service has ready endpoints and that NetworkPolicies admit the API server, or the worker for a configured URL.";
    SH3503 "the server refuses the credential" "Configure a connection with a credential that may query; a Service that a command names is asked without one.";
    SH3504 "another program answers" "Check Service, port and path prefix.";
    SH3505 "the server cannot be queried" "Connect the store that this Prometheus agent writes to instead.";
    SH3506 "the server refuses the query" "Correct the expression as the server's message says.";
    SH3507 "the answer is too large" "Ask about one namespace or service, or aggregate more labels away.";
    SH3508 "the configured connection cannot be used" "Correct the named file or setting in the worker's configuration.";
    SH3509 "the Grafana object belongs to another owner" "Rename or remove the named object in Grafana, or set adopt to overwrite it.";
    SH3510 "the Grafana object was edited" "Save the changes under another title, or set force to overwrite them.";
    SH3511 "the Grafana object is provisioned from files" "Change the files or the tool that provisions it, or choose another connection.";
    SH3512 "Grafana rejected the request" "Correct what Grafana's message names.";
    SH3513 "dashboards cannot be delivered to this Grafana" "Choose another value of `by`, or a connection with a credential that may write dashboards.";
    SH3514 "the Prometheus object does not select the monitors" "Change the selectors of the named Prometheus object, or pass `namespace` or `labels` that they match.";
    SH3515 "Istio is scraped already" "Remove the named scrape job first, or set force to scrape the same pods twice.";
    SH3516 "a stored record is not valid" "Restore the named ConfigMap, or remove by hand what it recorded and delete it.";
    SH3517 "the canary is not healthy" "Correct the canary, or the gate's thresholds; the report has what was observed at each weight.";
    SH3518 "the health gate has nothing to judge by" "Check that the connection's store has metrics of the workloads (connection.check), lengthen the window, or lower min_requests.";
    // SH36xx: the bridge to Meshery.
    SH3601 "the operation is not supported" "Choose an operation that Meshery's menu lists, or send a command with `sailhand submit`.";
    SH3602 "the operation is not allowed" "Add the operation to `bridge.operations` in the bridge's configuration.";
    SH3603 "no target matches the kubeconfig" "Run `sailhand bridge match` with this kubeconfig and add its output to the bridge's configuration.";
    SH3604 "the kubeconfig is invalid" "Connect the cluster in Meshery again, with a kubeconfig that kubectl accepts.";
    SH3605 "a field of the request is invalid" "Correct the named field.";
    SH3606 "the bridge has no free capacity" "Try again later, or raise the named limit of the bridge's configuration.";
    SH3607 "the bridge cannot start" "Correct the named setting of `[bridge]`.";
    SH3608 "a component of the design failed" "Correct the named component; a repeated deployment changes only what differs.";
    SH3609 "the client has no permission" "Add what is named to `bridge.clients` in the bridge's configuration, or use another client certificate.";
    // SH37xx: the dashboard.
    SH3701 "the dashboard cannot listen" "Choose another address with `dashboard.listen` or `--listen`, or stop the process that uses the port.";
    SH3702 "the keys of the token issuer cannot be read" "Check `dashboard.oidc.jwks`: a readable file or an https:// URL with a JSON Web Key Set.";
    SH3703 "the host name is not allowed" "Open the dashboard with a name that `dashboard.hosts` lists, or add this name.";
    SH3704 "the request has no valid identity" "Sign in at the proxy in front of the dashboard; check `dashboard.identity_header`, `dashboard.trusted_proxies` or `dashboard.oidc`.";
    SH3705 "the dashboard does not allow this action" "Start the dashboard with `--allow-actions` and the operator's NATS user, and list the user in `dashboard.operators`.";
    SH3706 "the form does not come from this dashboard" "Reload the page and send the form again.";
    // SH38xx: the gateway.
    SH3801 "the gateway cannot listen" "Choose another address with `gateway.listen` or `--listen`, or stop the process that uses the port.";
    SH3802 "a credential of the gateway cannot be read" "Check the file or URL that the message names: a token file has 16 to 4096 characters, `jwks` is a readable file or an https:// URL with a JSON Web Key Set.";
    SH3803 "the gateway does not serve this host name" "Send the request to a name that `gateway.hosts` lists, or add this name.";
    SH3804 "the request has no valid credentials" "Send `Authorization: Bearer <token>` with the token of a principal, or an unexpired OIDC token whose claims match a principal in `gateway.principals`.";
    SH3805 "the principal does not have this permission" "Send verbs, targets and a source that `gateway.principals.<name>` allows, or extend its permissions.";
    SH3806 "the principal exceeds its rate limit" "Wait as long as `Retry-After` says, or raise `rate_per_second` and `burst` of the principal.";
    SH3807 "the request body is too large" "Send smaller events or smaller batches.";
    SH3808 "the request body is not complete in time" "Send the body without pauses, or raise `gateway.body_timeout`.";
    SH3809 "the content type is not supported" "Send CloudEvents in the JSON format: structured, batched, or binary with JSON data.";
    SH3810 "too many requests wait for results" "Repeat after `Retry-After`, wait with fewer requests, or raise `gateway.max_streams`.";
    SH3811 "the webhook origin is not allowed" "Add the origin to `gateway.webhook_origins`.";
    SH3812 "the HTTP request is not valid" "Compare method, path, query and body with docs/http.md or with `/v1/openapi.json`.";
    SH3813 "the payload does not fit the hook" "Compare the payload with pointers and conditions of `gateway.hooks.<name>`.";
    SH3814 "the endpoint of a sink does not accept the event" "Compare the response with the endpoint's documentation and check `gateway.sinks.<name>`; `sailhand dlq show` prints the event.";
    // SH40xx: the worker.
    SH4001 "a task panicked" "This is a bug: report it with the worker's log.";
    SH4002 "internal error" "This is a bug: report it with the worker's log.";
    // SH50xx: the command line and configuration.
    SH5001 "invalid configuration" "Correct the named key; `sailhand worker --check` prints the effective values.";
    SH5002 "invalid command line" "Correct the named argument; --help lists the options of the subcommand.";
    SH5003 "timed out waiting for the result" "The command continues; query it with `sailhand get`.";
    SH5004 "local file or process error" "Correct the file, port or process that the message names.";
    SH5011 "the command needs confirmation" "Pass --yes to confirm it without a terminal; dry_run=true lists what it deletes.";
    SH5012 "the key is ambiguous" "Give more digits of the key; `sailhand list` shows the keys.";
    SH5013 "the cluster does not answer" "Start the cluster or choose another one with --context or --kubeconfig.";
    // SH60xx: input of the analysis.
    SH6001 "a document is not valid YAML or JSON" "Fix the syntax error at the named line; the other documents were analyzed.";
    SH6002 "a document exceeds a limit" "Split it; the other documents were analyzed.";
    SH6003 "cannot read a file" "Check the path and its permissions; the other files were analyzed.";
    SH6004 "the analysis reports errors" "Fix the findings, or send the command without analyze.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error as it is published in results, dead letters and `retrying` events, and printed on the terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// Stable code such as `SH3006`; its page is `docs/errors/<code>.md`.
    pub code: String,
    /// `retry`, `terminal`, `rejected`, `busy`, `superseded`, `cancelled`, `expired`, `lost-lease` or `shutdown`.
    pub class: String,
    /// What failed, where and why.
    pub message: String,
    /// Causes, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What the user can do.
    pub remedy: String,
}

impl Problem {
    /// Converts an error of any layer. A cause that repeats the text of its parent is omitted. Long texts are
    /// truncated, because an error may quote input, and a result must fit into a message.
    #[must_use]
    pub fn new(error: &dyn Classify) -> Self {
        let message = cut(error.to_string());
        let mut causes: Vec<String> = Vec::new();
        let mut next = error.source();
        while let Some(cause) = next.filter(|_| causes.len() < MAX_CAUSES) {
            let text = cut(cause.to_string());
            let last = causes.last().map_or(message.as_str(), String::as_str);
            if !last.contains(&text) {
                causes.push(text);
            }
            next = cause.source();
        }
        Self {
            code: error.code().to_string(),
            class: error.class().as_str().to_owned(),
            message,
            causes,
            remedy: error.remedy(),
        }
    }
}

/// Longest text, bytes.
const MAX_TEXT: usize = 4096;
/// Maximum number of causes.
const MAX_CAUSES: usize = 8;

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push('…');
    }
    text
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}
