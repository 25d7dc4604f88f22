//! Generates the Rust code and the descriptor set of Meshery's gRPC contract. Arguments: the proto file and the folder.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message as _;

/// Requests that carry kubeconfigs have no `Debug`, so that no log line can show one.
const SECRET: [&str; 4] = [
    "meshes.ApplyRuleRequest",
    "meshes.CreateMeshInstanceRequest",
    "meshes.ProcessOAMRequest",
    "meshes.ProvisionRequest",
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(file), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: sailhand-proto FILE FOLDER".into());
    };
    fs::create_dir_all(&folder)?;
    let descriptors = protox::compile([&file], [file.parent().unwrap_or(Path::new("."))])?;
    fs::write(folder.join("meshes.bin"), descriptors.encode_to_vec())?;
    let mut config = prost_build::Config::new();
    config.skip_debug(SECRET);
    tonic_prost_build::configure().out_dir(&folder).compile_fds_with_config(descriptors, config)?;
    Ok(())
}
