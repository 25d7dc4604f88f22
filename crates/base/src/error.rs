//! What every failure carries: a stable [`Code`] a person can search for, a [`Class`] the engine acts on, and a
//! remedy. Layers keep their own error enums and implement [`Classify`]; [`Problem`] is the form that leaves the
//! process. Knows no layer.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the engine does about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Worth another attempt, not before `after` where the other side named a delay.
    Retry {
        /// The delay the other side asked for (`Retry-After`), if it did.
        after: Option<Duration>,
    },
    /// The same command will fail the same way: end it with a result.
    Terminal,
    /// The command itself is wrong, and nothing was done: a result for its sender, a dead letter for the operator.
    Rejected,
    /// Somebody else holds the installation: come back soon, no attempt counted.
    Busy,
    /// A newer generation has been applied already.
    Superseded,
    /// Somebody asked for the command to stop.
    Cancelled,
    /// The command's deadline has passed.
    Expired,
    /// The lease is gone: stop and settle nothing, another worker owns the command now.
    LostLease,
    /// This process is going away: hand the command back, no attempt counted.
    Shutdown,
}

impl Class {
    /// A retry without a delay of its own.
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
    /// What the engine does about it.
    fn class(&self) -> Class;
    /// The stable code; its page is `docs/errors/<code>.md`.
    fn code(&self) -> Code;
    /// One sentence: what a person can do. The code's general advice unless the error knows better.
    fn remedy(&self) -> String {
        self.code().remedy().to_owned()
    }
}

macro_rules! codes {
    ($( $code:ident $title:literal $remedy:literal; )+) => {
        /// A stable error code. Never renumbered, never reused; each has a page under `docs/errors/`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the title beside each code is its documentation")]
        pub enum Code { $( #[doc = $title] $code, )+ }

        impl Code {
            /// All codes, in order.
            pub const ALL: &'static [Self] = &[ $( Self::$code, )+ ];

            /// The code as written, such as `SH1001`.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $( Self::$code => stringify!($code), )+ } }

            /// What the code says in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str { match self { $( Self::$code => $title, )+ } }

            /// The general advice.
            #[must_use]
            pub const fn remedy(self) -> &'static str { match self { $( Self::$code => $remedy, )+ } }
        }
    };
}

codes! {
    // SH10xx: the command itself.
    SH1001 "the message is not a CloudEvent" "Send a CloudEvents 1.0 JSON event, structured or binary.";
    SH1002 "a CloudEvents attribute is missing or invalid" "Set the named attribute as docs/contract.md describes.";
    SH1003 "unknown command type" "Use one of the verbs that `sailhand verbs` lists.";
    SH1004 "unknown version of a command" "Send a version this worker knows, or upgrade the worker.";
    SH1005 "the parameters do not fit the command's schema" "Compare the data with `sailhand verbs <verb>`, or with schemas/commands/<verb>.v1.json.";
    SH1006 "the command is too large" "Put the data into the object store and send a dataref.";
    SH1007 "the referenced data cannot be had" "Upload it to the object store again and check its digest.";
    SH1008 "unknown target" "Add the target to the worker's configuration or name one it has.";
    SH1009 "the subject and the event name different targets or verbs" "Publish on istio.cmd.<target>.<verb> as the event says.";
    SH1010 "the command expired before it could be done" "Send it again with a later expirytime.";
    SH1011 "a newer generation has been applied" "Nothing to do, or send the command with a higher generation.";
    SH1012 "the command was cancelled" "Send it again to go on from where it stopped.";
    SH1013 "the command crashed the worker again and again" "Look at the worker's log for the cause, then replay the dead letter.";
    SH1014 "all attempts failed" "Mend the cause named by the last attempt, then replay the dead letter.";
    SH1015 "the deadline passed while the command ran" "Send it again with a longer deadline; what was done stays.";
    SH1016 "the bus does not deliver the command any more" "Run `sailhand topology apply`, which sets the consumer's max_deliver right, then replay the dead letter.";
    SH1017 "somebody else took the command off the queue" "Find out who terminates or acknowledges commands beside the workers; send the command again.";
    // SH20xx: the bus.
    SH2001 "NATS cannot be reached" "Check the address, the network and that the server runs.";
    SH2002 "NATS did not confirm a write" "Check the stream's limits and the server's health; the write is retried.";
    SH2003 "the streams are not as declared" "Run `sailhand topology verify`, then `sailhand topology apply` with admin rights.";
    SH2004 "NATS denies a permission" "Grant what deploy/nats shows for a worker.";
    SH2005 "the lease was lost" "Nothing: another worker carries the command on.";
    SH2006 "the installation is busy" "Nothing: the command waits until the other one ends.";
    SH2007 "NATS credentials cannot be used" "Check the files named in the configuration.";
    SH2008 "no such record on the bus" "Check the id; records are kept for the stream's max_age.";
    // SH30xx: the cluster.
    SH3001 "the API server cannot be reached" "Check the kubeconfig's address and the network.";
    SH3002 "the API server refuses the credentials" "Renew the credentials in the target's kubeconfig.";
    SH3003 "the API server forbids the request" "Grant the named verb on the named resource.";
    SH3004 "the cluster does not know the kind" "Install its CRD first, or put it into the same command; those of Istio come with mesh.install.";
    SH3005 "the API server refuses the object" "Mend the named field.";
    SH3006 "another field manager owns the field" "Let the other manager give it up, or set force (for mesh verbs, adopt).";
    SH3007 "the field is immutable" "Set recreate to delete and create the object.";
    SH3008 "the object belongs to another tool" "Change it with that tool, or set adopt.";
    SH3009 "not ready in time" "Look at the named objects; send the command again with a longer deadline.";
    SH3010 "the API server is overloaded or unavailable" "Nothing: it is retried.";
    SH3011 "an admission webhook could not be called" "Check that the webhook's Service has endpoints.";
    SH3012 "an admission webhook denied the object" "Mend what the webhook says.";
    SH3013 "the namespace does not exist" "Create it first, or set create_namespace.";
    SH3014 "the kubeconfig cannot be used" "Check the file and context named in the configuration.";
    SH3015 "a newer holder of the lease has written" "Nothing: another worker carries the command on.";
    SH3016 "some objects failed" "See the report for each object's reason.";
    SH3017 "a workload has failed" "See the named container's reason.";
    SH3018 "the API server's certificate is not valid" "Check the kubeconfig's certificate authority.";
    SH3019 "objects do not go away" "Remove what their finalizers wait for.";
    SH3020 "the API server failed" "Nothing: it is retried.";
    // SH31xx: manifests.
    SH3101 "the manifest cannot be read" "Mend the YAML or JSON at the named line.";
    SH3102 "the manifest exceeds a limit" "Split it into several commands.";
    SH3103 "a document is not a Kubernetes object" "Give it apiVersion, kind and metadata.name.";
    SH3104 "an object is there twice" "Remove one of the two.";
    // SH32xx: Istio's charts and its life cycle.
    SH3201 "the chart cannot be had" "Check charts.source in the worker's configuration, or put the chart into a folder or mirror.";
    SH3202 "the chart is not the one that was pinned" "Find out why it changed; then mend charts.digests or empty the charts' cache.";
    SH3203 "the chart is not safe to use" "Get the chart from its publisher again.";
    SH3204 "helm cannot render the chart" "Mend the values that it names, or charts.helm in the worker's configuration.";
    SH3205 "these versions do not go together" "Choose the version that the message names; force goes past what was not tested, not past what cannot work.";
    SH3206 "this version cannot follow that one" "Go by way of the version that the message names, by revision, or set force.";
    SH3207 "another installation is in the way" "Remove it with the tool that made it, choose another revision, or set adopt.";
    SH3208 "the cluster is not ready for it" "Mend what the findings name, or set force.";
    SH3209 "it is still in use" "Move its users first, or set force.";
    SH3210 "this worker has not installed it" "Ask `mesh.status` what is there; mesh.install with adopt takes over what another tool has installed.";
    SH3211 "proxies do not follow" "Look at the named pods; restart their workloads.";
    // SH33xx: traffic, policies and addons.
    SH3301 "a subset has no ready pods" "Deploy what the subset names and wait until it is ready, or set force.";
    SH3302 "another object governs the same thing" "Remove the named object, change it instead, or set force.";
    SH3303 "the Service does not exist" "Deploy it first, or name another namespace or service.";
    SH3304 "an addon does not answer its health call" "Look at its pod's log; that the API server may reach the pod; then send the command again.";
    // SH34xx: conformance suites.
    SH3401 "unknown conformance suite" "Use smi or gateway-api-mesh.";
    SH3402 "unknown conformance case" "`sailhand conformance cases <suite>` lists the cases.";
    SH3403 "the target has no mesh" "Install Istio with mesh.install, then send the command again.";
    SH3404 "CRDs of the conformance suite are missing" "Install them: those of SMI with smi.install, those of Gateway API with mesh.install or from its release.";
    SH3405 "CRDs of the conformance suite serve another version" "Install the version that the message names.";
    SH3406 "an image of the conformance suite cannot be pulled" "Set `image` to one that the nodes can pull, such as one of a mirror.";
    SH3407 "exec in the suite's pods is forbidden" "Grant the worker `create` and `get` on `pods/exec`.";
    SH3408 "a test namespace cannot be deleted" "Remove what the namespace's conditions name, then delete the namespace.";
    SH3409 "the conformance suite's workloads are not ready in time" "Look at the named pods' events; the cluster needs room for eight pods.";
    SH3410 "the conformance suite's pods are not in the mesh" "Check the injection webhook, or set `data_plane` and `revision` as the mesh has them.";
    SH3411 "exec in the suite's pods failed" "Check that the API server reaches the node's kubelet; the command is tried again.";
    // SH40xx: the worker.
    SH4001 "a task panicked" "This is a bug: report it with the worker's log.";
    SH4002 "an unclassified failure" "This is a bug: report it with the worker's log.";
    // SH50xx: the command line and configuration.
    SH5001 "the configuration is not valid" "Mend the named key; `sailhand worker --check` shows the effective values.";
    SH5002 "the command line is not valid" "See --help.";
    SH5003 "waiting for the result took too long" "The command goes on; ask with `sailhand get`.";
    SH5004 "a local file or process failed" "See the cause.";
    // SH60xx: what is given to the analysis.
    SH6001 "a document cannot be read" "Mend the YAML or JSON at the named line; the other documents were analysed.";
    SH6002 "a document exceeds a limit" "Split it; the other documents were analysed.";
    SH6003 "a file cannot be opened" "Check the path and its permissions; the other files were analysed.";
    SH6004 "the analysis finds errors" "Mend what the findings say, or send the command without analyze.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error as it leaves the process: in results, dead letters, `retrying` events and on the terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// Stable code such as `SH3006`; its page is `docs/errors/<code>.md`.
    pub code: String,
    /// `retry`, `terminal`, `rejected`, `busy`, `superseded`, `cancelled`, `expired`, `lost-lease` or `shutdown`.
    pub class: String,
    /// What failed and where, for a person.
    pub message: String,
    /// The chain of causes, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What a person can do.
    pub remedy: String,
}

impl Problem {
    /// Renders an error of any layer. A cause that only repeats its parent's text is left out. Long texts are cut: an
    /// error may repeat what a sender wrote, and a result that does not fit into a message would never be published.
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

/// Longest text of a problem, bytes.
const MAX_TEXT: usize = 4096;
/// Most causes of a problem.
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
