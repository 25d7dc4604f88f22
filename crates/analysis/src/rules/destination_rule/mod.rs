//! Rules about `DestinationRule` that `istioctl analyze` has too.

pub mod ca_certificate;
pub mod subsets;
