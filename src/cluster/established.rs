//! Waits until the API server serves what applied CRDs define.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::api_error::ApiError;
use super::guarded::{guarded, sleep};
use super::{Cluster, Error, Kind, ObjectRef};
use crate::guard::Guard;

/// A healthy API server needs well under a second.
const WITHIN: Duration = Duration::from_mins(1);

/// How long another CRD that is being deleted may hold the names.
const NAMES_WITHIN: Duration = Duration::from_secs(5);

const PAUSE: Duration = Duration::from_millis(50);

/// Waits for the CRDs, and until discovery lists their kinds: the next command may have objects of them.
pub(super) async fn wait(cluster: &Cluster, crds: &[ObjectRef], guard: &Guard) -> Result<(), Error> {
    let begun = Instant::now();
    cluster.forget_kinds().await;
    for crd in crds {
        loop {
            match guarded(guard, look(cluster, crd)).await? {
                Ok(()) => break,
                Err(Missing::Names(reason)) if begun.elapsed() >= NAMES_WITHIN => {
                    let fault = ApiError::Refused(format!("its names are not accepted: {reason}"));
                    return Err(Error::Request { verb: "establish", object: crd.to_string(), fault });
                }
                Err(Missing::Other(reason)) if begun.elapsed() >= WITHIN => {
                    return Err(Error::NotEstablished { name: crd.name.clone(), reason });
                }
                Err(_) => sleep(guard, PAUSE).await?,
            }
        }
    }
    Ok(())
}

/// Why the kinds of a CRD are not served.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    /// Another CRD has its names.
    Names(String),
    Other(String),
}

/// `Ok` when the kinds are served, else the reason why not.
async fn look(cluster: &Cluster, crd: &ObjectRef) -> Result<Result<(), Missing>, Error> {
    let live = cluster.get(crd).await?.unwrap_or_default();
    if let Err(reason) = state(&live) {
        return Ok(Err(reason));
    }
    for kind in Kind::defined_by(&live) {
        let (version, name) = (&kind.resource.api_version, &kind.resource.kind);
        if cluster.kind(version, name).await?.is_none() {
            cluster.forget_kinds().await;
            return Ok(Err(Missing::Other(format!("discovery does not list {name} in {version} yet"))));
        }
    }
    Ok(Ok(()))
}

/// `Ok` when the CRD is established, else the condition that prevents it.
fn state(crd: &Value) -> Result<(), Missing> {
    let conditions = crd["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let status =
        |kind: &str, status: &str| conditions.iter().find(|one| one["type"] == kind && one["status"] == status);
    match (status("Established", "True"), status("NamesAccepted", "False")) {
        (Some(_), _) => Ok(()),
        (None, Some(refused)) => {
            Err(Missing::Names(refused["message"].as_str().unwrap_or("another CRD has them").to_owned()))
        }
        (None, None) => Err(Missing::Other("no condition Established yet".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn crd_is_ready_when_established_and_name_conflicts_are_reported() {
        let crd = |conditions: Value| json!({"status": {"conditions": conditions}});
        assert_eq!(state(&crd(json!([{"type": "Established", "status": "True"}]))), Ok(()));
        assert!(state(&json!({})).is_err());
        let taken = crd(json!([
            {"type": "Established", "status": "False"},
            {"type": "NamesAccepted", "status": "False", "message": "\"X\" is already in use"},
        ]));
        assert_eq!(state(&taken), Err(Missing::Names("\"X\" is already in use".to_owned())));
    }
}
