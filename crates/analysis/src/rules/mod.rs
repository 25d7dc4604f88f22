//! The rules: a folder for each group, a file for each rule with its codes and their documentation. Codes that several
//! rules report are in `support/common_codes.rs`. A rule uses its view and no other rule.

mod access;
mod ambient;
mod annotation;
mod clusters;
mod control_plane;
mod destination_rule;
mod edge;
mod envoy_filter;
mod gateway;
mod gateway_api;
mod injection;
mod mesh_networks;
mod mutual_tls;
mod operations;
mod pods;
mod ports;
mod references;
mod routing;
pub(crate) mod schema;
mod security;
mod service;
mod service_entry;
mod sidecar;
mod status;
pub mod support;
mod telemetry;
mod virtual_service;
mod workload;

use std::collections::BTreeSet;

use super::{Code, Kind, Rule};

/// All rules. A new rule is one line here.
pub static ALL: &[&Rule] = &[
    // Rules of istioctl analyze, with its names and codes.
    &annotation::alpha::RULE,
    &annotation::known::RULE,
    &clusters::service::RULE,
    &control_plane::deprecated::RULE,
    &control_plane::external::RULE,
    &destination_rule::ca_certificate::RULE,
    &destination_rule::subsets::RULE,
    &envoy_filter::patch::RULE,
    &gateway::certificate::RULE,
    &gateway::conflict::RULE,
    &gateway::ports::RULE,
    &gateway::secret::RULE,
    &gateway_api::crd_version::RULE,
    &gateway_api::selector::RULE,
    &injection::auto_image::RULE,
    &injection::image::RULE,
    &injection::namespace::RULE,
    &injection::webhook::RULE,
    &mesh_networks::registry::RULE,
    &security::authorization::RULE,
    &security::blocked_cidrs::RULE,
    &service::port_name::RULE,
    &service_entry::addresses::RULE,
    &service_entry::conflicting_protocol::RULE,
    &schema::fields::RULE,
    &schema::authorization_policy::RULE,
    &schema::destination_rule::RULE,
    &schema::envoy_filter::RULE,
    &schema::gateway::RULE,
    &schema::peer_authentication::RULE,
    &schema::plugin::TRAFFIC_EXTENSION,
    &schema::plugin::WASM_PLUGIN,
    &schema::proxy_config::RULE,
    &schema::request_authentication::RULE,
    &schema::service_entry::RULE,
    &schema::sidecar::RULE,
    &schema::telemetry::RULE,
    &schema::virtual_service::RULE,
    &schema::workload::ENTRY,
    &schema::workload::GROUP,
    &sidecar::selector::RULE,
    &status::condition::RULE,
    &telemetry::default_selector::RULE,
    &telemetry::lightstep::RULE,
    &telemetry::provider::RULE,
    &telemetry::selector::RULE,
    &virtual_service::destination_host::RULE,
    &virtual_service::gateways::RULE,
    &virtual_service::jwt_claims::RULE,
    &virtual_service::mesh_hosts::RULE,
    &virtual_service::subsets::RULE,
    &workload::application_uid::RULE,
    &workload::multi_service::RULE,
    // Rules of sailhand: consistency, security and best practices.
    &access::default_deny::RULE,
    &access::host_ports::RULE,
    &access::http_on_tcp::RULE,
    &access::identity::RULE,
    &access::matching::RULE,
    &access::methods::RULE,
    &access::service_ports::RULE,
    &ambient::enrolment::RULE,
    &ambient::l7_policies::RULE,
    &ambient::mixed_routes::RULE,
    &ambient::network_policies::RULE,
    &ambient::plain_text::RULE,
    &ambient::proxied::RULE,
    &ambient::services::RULE,
    &ambient::unread::RULE,
    &ambient::waypoint_kind::RULE,
    &clusters::identity::RULE,
    &clusters::namespaces::RULE,
    &clusters::networks::RULE,
    &clusters::same_configuration::RULE,
    &edge::broad_hosts::RULE,
    &edge::https_redirect::RULE,
    &edge::reused_connection::RULE,
    &edge::tls_origination::RULE,
    &edge::tls_routes::RULE,
    &gateway_api::addresses::RULE,
    &gateway_api::backends::RULE,
    &gateway_api::classes::RULE,
    &gateway_api::grant_namespaces::RULE,
    &gateway_api::listener_certificates::RULE,
    &gateway_api::listener_sets::RULE,
    &gateway_api::parents::RULE,
    &mutual_tls::client_and_server::RULE,
    &mutual_tls::duplicates::RULE,
    &mutual_tls::strict::RULE,
    &mutual_tls::strict::POLICIES,
    &mutual_tls::without_auto::RULE,
    &mutual_tls::without_auto::CLIENTS,
    &operations::availability::RULE,
    &operations::debug_port::RULE,
    &operations::egress::RULE,
    &operations::far_rules::RULE,
    &operations::injector::RULE,
    &operations::injector::WEBHOOKS,
    &operations::locality::RULE,
    &operations::members::RULE,
    &operations::network_policies::RULE,
    &operations::path_normalization::RULE,
    &operations::pod_security::RULE,
    &operations::proxy_versions::RULE,
    &operations::tracing::RULE,
    &operations::zones::RULE,
    &pods::bypass::RULE,
    &pods::labels::RULE,
    &pods::reserved_ports::RULE,
    &ports::double_tls::RULE,
    &ports::external_name::RULE,
    &ports::https_port::RULE,
    &ports::plain_to_tls::RULE,
    &ports::server_first::RULE,
    &references::export_to::RULE,
    &references::policy_hosts::RULE,
    &references::principals::RULE,
    &references::selectors::RULE,
    &references::sidecar_hosts::RULE,
    &references::target_ports::RULE,
    &references::workload_groups::RULE,
    &routing::default_route::RULE,
    &routing::destinations::RULE,
    &routing::http_on_tcp::RULE,
    &routing::match_gateways::RULE,
    &routing::overlapping_rules::RULE,
    &routing::same_host_entries::RULE,
    &routing::shared_gateway_host::RULE,
    &routing::sidecar_outbound::RULE,
    &routing::subset_labels::RULE,
    &routing::subset_of_service::RULE,
    &routing::unused_subset::RULE,
    &schema::old_version::RULE,
    &schema::repeated_keys::RULE,
    &schema::unknown_kind::RULE,
    &security::token_not_read::RULE,
    &security::token_not_required::RULE,
    &telemetry::unknown_provider::RULE,
    &virtual_service::delegates::RULE,
];

/// Codes that are reported only on request, because tools and not users cause most of their findings.
const NOT_BY_DEFAULT: &[&str] = &["IST0136"];

/// Whether a code is reported by default.
#[must_use]
pub fn is_enabled_by_default(code: &Code) -> bool {
    !NOT_BY_DEFAULT.contains(&code.id)
}

/// The rules whose input does not include a kind that was not read.
#[must_use]
pub fn without(rules: &[&'static Rule], unread: &BTreeSet<Kind>) -> Vec<&'static Rule> {
    // MeshConfig is stored in a ConfigMap.
    let has_settings = !unread.contains(&Kind::ConfigMap);
    let is_known = |kind: &Kind| !unread.contains(kind) && (has_settings || *kind != Kind::MeshConfig);
    rules.iter().copied().filter(|rule| rule.inputs.iter().all(is_known)).collect()
}

/// All codes that the rules can report, sorted by id.
#[must_use]
pub fn codes() -> Vec<&'static Code> {
    let mut codes: Vec<&'static Code> = ALL.iter().flat_map(|rule| rule.codes).copied().collect();
    codes.sort_by_key(|code| code.id);
    codes.dedup();
    codes
}

#[cfg(test)]
pub(crate) mod tests;
