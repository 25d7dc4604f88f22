//! The binary: installs the TLS provider and runs the command line.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    // By name, so that a dependency that enables another provider cannot make rustls panic. Only this can be first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    sailhand::cli::run()
}
