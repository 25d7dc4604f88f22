//! Rules about routes that need several objects: `VirtualService`, `DestinationRule` and `ServiceEntry`.

pub mod default_route;
pub mod destinations;
pub mod http_on_tcp;
pub mod match_gateways;
pub mod overlapping_rules;
pub mod same_host_entries;
pub mod shared_gateway_host;
pub mod sidecar_outbound;
pub mod subset_labels;
pub mod subset_of_service;
pub mod unused_subset;
