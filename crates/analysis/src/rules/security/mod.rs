//! Rules about authorization and authentication that `istioctl analyze` has too.

pub mod authorization;
pub mod blocked_cidrs;
pub mod token_not_read;
pub mod token_not_required;
