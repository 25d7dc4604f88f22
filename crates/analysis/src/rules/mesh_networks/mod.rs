//! Rules about `MeshNetworks`.

pub mod registry;
