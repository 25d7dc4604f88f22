//! Rules about the control plane's own objects.

pub mod deprecated;
pub mod external;
