//! The corpus of the fuzz targets through the same functions, without a fuzzer: what once was found stays mended.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/readers.rs"]
mod readers;

#[test]
fn fuzz_corpus_passes_in_each_parser() {
    for (name, reader) in readers::READERS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(inputs.len() >= 10, "{} has only {} inputs", folder.display(), inputs.len());
        for input in inputs {
            let bytes = fs::read(&input).unwrap();
            let stood = std::panic::catch_unwind(|| reader(&bytes));
            assert!(stood.is_ok(), "{}", input.display());
        }
    }
}

#[test]
fn corpus_has_accepted_and_refused_inputs() {
    let target = "dev".parse().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let accepted = |name: &str, accepts: &dyn Fn(&[u8]) -> bool| {
        let inputs = fs::read_dir(folder.join(name)).unwrap();
        inputs.filter(|input| accepts(&fs::read(input.as_ref().unwrap().path()).unwrap())).count()
    };
    let none = std::iter::empty::<(&str, &str)>();
    let commands =
        accepted("structured", &|bytes| sailhand::event::decode(&target, "config.apply", &none, bytes).is_ok());
    let manifests = accepted("manifest", &|bytes| {
        sailhand::cluster::manifest::read(std::str::from_utf8(bytes).unwrap_or("[")).is_ok_and(|read| !read.is_empty())
    });
    assert!(commands >= 2 && manifests >= 3, "{commands} commands, {manifests} manifests");
}
