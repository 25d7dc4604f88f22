//! stub
use super::{Failure, Outcome, Task, TaskContext};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// stub
pub struct Apply;
/// stub
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyParams {}
/// stub
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyReport {}
impl Task for Apply {
    const VERB: &'static str = "config.apply";
    const SUMMARY: &'static str = "stub";
    type Params = ApplyParams;
    type Report = ApplyReport;
    fn installation(&self, _: &ApplyParams) -> Option<String> {
        None
    }
    fn example(&self) -> ApplyParams {
        ApplyParams {}
    }
    async fn run(&self, _: &TaskContext, _: ApplyParams) -> Result<Outcome<ApplyReport>, Failure<ApplyReport>> {
        Ok(Outcome::Unchanged(ApplyReport {}))
    }
}

/// stub
pub struct Delete;
/// stub
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteParams {}
/// stub
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteReport {}
impl Task for Delete {
    const VERB: &'static str = "config.delete";
    const SUMMARY: &'static str = "stub";
    type Params = DeleteParams;
    type Report = DeleteReport;
    fn installation(&self, _: &DeleteParams) -> Option<String> {
        None
    }
    fn example(&self) -> DeleteParams {
        DeleteParams {}
    }
    async fn run(&self, _: &TaskContext, _: DeleteParams) -> Result<Outcome<DeleteReport>, Failure<DeleteReport>> {
        Ok(Outcome::Unchanged(DeleteReport {}))
    }
}
