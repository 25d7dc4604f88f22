//! Lists the pages of the error codes for `sailhand explain`: `docs/errors/SH….md` as `(code, text)`.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

#[allow(clippy::disallowed_methods, reason = "cargo passes the folders of a build script by variables")]
fn main() -> io::Result<()> {
    let root = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    let folder = Path::new(&root).join("docs/errors");
    println!("cargo::rerun-if-changed=docs/errors");
    let mut files: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    let mut list = String::from("&[\n");
    for file in files {
        let (name, path) = (file.file_name(), file.path());
        let Some(code) = name.to_str().and_then(|name| name.strip_suffix(".md")).filter(|it| it.starts_with("SH"))
        else {
            continue;
        };
        writeln!(list, "    ({code:?}, include_str!({:?})),", path.display().to_string()).map_err(io::Error::other)?;
    }
    fs::write(Path::new(&out).join("error_pages.rs"), list + "]\n")
}
