//! The charts' configuration of the tests: helm is the one that was built for them.

use sailhand::config::Charts;

use crate::support::tools;

/// The defaults with the tests' helm.
pub fn settings() -> Charts {
    Charts { helm: tools::program("helm", "HELM_BIN"), ..Charts::default() }
}
