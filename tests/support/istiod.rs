//! A stand-in for istiod: on simulated nodes no container runs, so no istiod would write a certificate into the webhooks. It
//! writes what the real one writes, as the real one does: by Update, under the name `pilot-discovery`.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kube::Client;
use kube::api::{Api, ListParams, PostParams};

/// Plays istiod until it is dropped.
pub async fn stand_in(client: Client) {
    play(client, true).await;
}

/// The same, but validation stays optional: an API server that cannot contact istiod would refuse every object of
/// Istio's kinds.
pub async fn without_validation(client: Client) {
    play(client, false).await;
}

async fn play(client: Client, validates: bool) {
    let params = PostParams { field_manager: Some("pilot-discovery".to_owned()), ..PostParams::default() };
    let bundle = || ByteString(b"a certificate".to_vec());
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(client);
    loop {
        for mut one in mutating.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
            let hooks = one.webhooks.iter_mut().flatten().filter(|hook| hook.client_config.ca_bundle.is_none());
            let count = hooks.map(|hook| hook.client_config.ca_bundle = Some(bundle())).count();
            if count > 0 {
                let name = one.metadata.name.clone().unwrap();
                mutating.replace(&name, &params, &one).await.ok();
            }
        }
        let configurations = validating.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
        for mut one in configurations.into_iter().filter(|_| validates) {
            let hooks =
                one.webhooks.iter_mut().flatten().filter(|hook| hook.failure_policy.as_deref() == Some("Ignore"));
            let count = hooks
                .map(|hook| {
                    hook.client_config.ca_bundle = Some(bundle());
                    hook.failure_policy = Some("Fail".to_owned());
                })
                .count();
            if count > 0 {
                let name = one.metadata.name.clone().unwrap();
                validating.replace(&name, &params, &one).await.ok();
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
