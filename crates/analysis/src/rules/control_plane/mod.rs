//! Rules about the objects of the control plane.

pub mod deprecated;
pub mod external;
