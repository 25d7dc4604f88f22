//! Asks an addon how it is, through the API server's proxy of its Service: the worker needs no way into the cluster's
//! network.

use std::time::Duration;

use kube::core::request::Request;
use tokio::time::Instant;

use super::model::Addon;
use crate::cluster::{self, Cluster};
use crate::task::refusal::Refusal;
use crate::task::{Error, TaskContext};

/// Between two questions.
const PAUSE: Duration = Duration::from_secs(1);

/// Repeats the request until the response is healthy, at most until `until`.
///
/// # Errors
/// [`Refusal::Unhealthy`] with the last answer, or a reason to stop.
pub async fn ask(
    cx: &TaskContext,
    cluster: &Cluster,
    addon: &Addon,
    namespace: &str,
    until: Instant,
) -> Result<(), Error> {
    let service = &addon.services[0];
    let name = format!("http:{}:{}", service.name, service.ports[0].1);
    let path = format!("/api/v1/namespaces/{namespace}/services");
    let proxied = format!("proxy{}", addon.health);
    let what = format!("{} at {}", addon.health, addon.url(namespace));
    loop {
        cx.guard.check()?;
        let answer = cluster
            .call("ask", &what, |client| {
                let request = Request::new(path.as_str()).get_subresource(&proxied, &name);
                async move { client.request_text(request.map_err(kube::Error::BuildRequest)?).await }
            })
            .await;
        let trouble = match answer {
            Ok(_) => return Ok(()),
            Err(error @ cluster::Error::Request { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        if Instant::now() >= until {
            let reason = trouble.to_string();
            return Err(Refusal::Unhealthy { addon: addon.name, reason }.into());
        }
        cx.step("wait", 0, 1, format!("{}: {trouble}", addon.name));
        tokio::select! {
            stop = cx.guard.stopped() => return Err(stop.into()),
            () = cx.clock.sleep(PAUSE) => {}
        }
    }
}
