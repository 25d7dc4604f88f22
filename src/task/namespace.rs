//! stub
use super::{Failure, Outcome, Task, TaskContext};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// stub
pub struct Label;
/// stub
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelParams {}
/// stub
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelReport {}
impl Task for Label {
    const VERB: &'static str = "namespace.label";
    const SUMMARY: &'static str = "stub";
    type Params = LabelParams;
    type Report = LabelReport;
    fn installation(&self, _: &LabelParams) -> Option<String> {
        None
    }
    fn example(&self) -> LabelParams {
        LabelParams {}
    }
    async fn run(&self, _: &TaskContext, _: LabelParams) -> Result<Outcome<LabelReport>, Failure<LabelReport>> {
        Ok(Outcome::Unchanged(LabelReport {}))
    }
}
