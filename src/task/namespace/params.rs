//! Parameters and report of `namespace.label`; part of the wire contract.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::restart::Restart;
use crate::task::Error;
use crate::task::names::Namespace;

/// How a namespace takes part in a mesh. The labels of the other modes are removed, as Istio obeys only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// `istio-injection=enabled`: sidecars of the default revision.
    Enabled,
    /// `istio-injection=disabled`: no sidecars, whatever the mesh's default is.
    Disabled,
    /// `istio.io/rev=<revision>`: sidecars of that revision or tag.
    Revision,
    /// `istio.io/dataplane-mode=ambient`: no sidecars, ztunnel.
    Ambient,
    /// None of these labels.
    None,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enabled => "injection enabled",
            Self::Disabled => "injection disabled",
            Self::Revision => "injection by revision",
            Self::Ambient => "ambient",
            Self::None => "no mesh labels",
        })
    }
}

/// Parameters of `namespace.label`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelParams {
    /// Which namespace.
    pub namespace: Namespace,
    /// How it is to take part in the mesh.
    pub mode: Mode,
    /// A revision such as `1-30-3`, or a tag such as `prod`. With mode `revision`, and only then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub revision: Option<String>,
    /// Create the namespace when it does not exist.
    #[serde(default)]
    pub create: bool,
    /// Restart the Deployments, `StatefulSet`s and `DaemonSet`s of the namespace when a label has changed, as their pods know
    /// the mesh only from their start. A restart that was cut short is finished by the next run that has this set.
    #[serde(default)]
    pub restart: bool,
    /// Change labels that another field manager has set.
    #[serde(default)]
    pub force: bool,
    /// Report what would change, write nothing.
    #[serde(default)]
    pub dry_run: bool,
}

impl LabelParams {
    /// The defaults for a namespace and a mode.
    #[must_use]
    pub const fn of(namespace: Namespace, mode: Mode) -> Self {
        Self { namespace, mode, revision: None, create: false, restart: false, force: false, dry_run: false }
    }

    /// Checks that the schema cannot express.
    pub(super) fn check(&self) -> Result<(), Error> {
        let reason = match (self.mode, &self.revision) {
            (Mode::Revision, None) => "mode revision needs it",
            (Mode::Revision, Some(_)) | (_, None) => return Ok(()),
            (_, Some(_)) => "only mode revision takes it",
        };
        Err(Error::Parameter { field: "revision", reason: reason.to_owned() })
    }
}

/// Report of `namespace.label`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelReport {
    /// Which namespace.
    pub namespace: Namespace,
    /// It was not there.
    pub created: bool,
    /// Its mesh labels as they were.
    pub before: BTreeMap<String, String>,
    /// Its mesh labels as they are, or would be in a dry run.
    pub after: BTreeMap<String, String>,
    /// Workloads restarted or skipped, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restarted: Vec<Restart>,
    /// Nothing was written.
    #[serde(default)]
    pub dry_run: bool,
}

impl LabelReport {
    /// Nothing known yet.
    pub(super) fn of(params: &LabelParams) -> Self {
        Self {
            namespace: params.namespace.clone(),
            created: false,
            before: BTreeMap::new(),
            after: BTreeMap::new(),
            restarted: Vec::new(),
            dry_run: params.dry_run,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::task::Task;
    use crate::task::namespace::Label;

    #[test]
    fn parameters_fit_their_schema() {
        let schema = schemars::schema_for!(LabelParams);
        let validator = jsonschema::validator_for(schema.as_value()).unwrap();
        assert!(validator.is_valid(&serde_json::to_value(Label.example()).unwrap()));
        let least = json!({"namespace": "shop", "mode": "none"});
        assert!(validator.is_valid(&least));
        let least: LabelParams = serde_json::from_value(least).unwrap();
        assert_eq!(least, LabelParams::of(Namespace::known("shop"), Mode::None));
        for bad in [
            json!({"namespace": "shop"}),
            json!({"namespace": "shop", "mode": "on"}),
            json!({"namespace": "Shop", "mode": "enabled"}),
            json!({"namespace": "shop", "mode": "revision", "revision": "a b"}),
            json!({"namespace": "shop", "mode": "enabled", "wait": true}),
        ] {
            assert!(!validator.is_valid(&bad), "{bad}");
        }
    }

    #[test]
    fn a_long_namespace_has_an_installation_of_its_own() {
        let of = |name: String| Label.installation(&LabelParams::of(Namespace::try_from(name).unwrap(), Mode::None));
        assert_eq!(of("shop".to_owned()).as_deref(), Some("namespace-shop"));
        assert_ne!(of("a".repeat(62)), of("a".repeat(63)));
    }
}
