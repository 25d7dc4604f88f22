//! stub
use super::{Failure, Outcome, Task, TaskContext};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// stub
pub struct Deploy;
/// stub
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployParams {}
/// stub
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployReport {}
impl Task for Deploy {
    const VERB: &'static str = "sample.deploy";
    const SUMMARY: &'static str = "stub";
    type Params = DeployParams;
    type Report = DeployReport;
    fn installation(&self, _: &DeployParams) -> Option<String> {
        None
    }
    fn example(&self) -> DeployParams {
        DeployParams {}
    }
    async fn run(&self, _: &TaskContext, _: DeployParams) -> Result<Outcome<DeployReport>, Failure<DeployReport>> {
        Ok(Outcome::Unchanged(DeployReport {}))
    }
}

/// stub
pub struct Remove;
/// stub
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveParams {}
/// stub
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveReport {}
impl Task for Remove {
    const VERB: &'static str = "sample.remove";
    const SUMMARY: &'static str = "stub";
    type Params = RemoveParams;
    type Report = RemoveReport;
    fn installation(&self, _: &RemoveParams) -> Option<String> {
        None
    }
    fn example(&self) -> RemoveParams {
        RemoveParams {}
    }
    async fn run(&self, _: &TaskContext, _: RemoveParams) -> Result<Outcome<RemoveReport>, Failure<RemoveReport>> {
        Ok(Outcome::Unchanged(RemoveReport {}))
    }
}
