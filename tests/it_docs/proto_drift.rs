//! The generated code of the gRPC contract belongs to the text in `proto/`.

use std::path::Path;

use sailhand::hex::hex;
use sha2::{Digest, Sha256};

#[test]
fn generated_grpc_code_belongs_to_the_proto_text() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(root.join("proto/meshops.proto")).unwrap();
    let recorded = std::fs::read_to_string(root.join("src/bridge/proto/meshops.sha256")).unwrap();
    assert_eq!(recorded.trim(), hex(&Sha256::digest(text)), "run `just proto`");
}
