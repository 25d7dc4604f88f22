//! Who may know whom: the layers as ARCHITECTURE.md draws them, read off the source. What a file names is taken from
//! its paths and its `use` trees; comments and strings do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Longest file. One that grows beyond has two jobs.
const LINES: usize = 600;
/// Generated files (`just proto`).
const GENERATED: &[&str] = &["bridge/proto/meshes.rs"];

/// Files below `within` (but not `except`) name none of `never`.
struct Rule {
    within: &'static str,
    except: &'static [&'static str],
    never: &'static [&'static str],
}

const RULES: &[Rule] = &[
    // Ports between a task and the worker, which both know.
    Rule {
        within: "task_event",
        except: &[],
        never: &["crate::bus", "crate::event", "crate::cluster", "crate::task", "crate::worker", "crate::cli"],
    },
    // Suites and verdicts; only the environment of a cluster and the exec driver know a client.
    Rule {
        within: "conformance",
        except: &[],
        never: &[
            "async_nats",
            "cloudevents",
            "crate::bus",
            "crate::event",
            "crate::task",
            "crate::worker",
            "crate::cli",
        ],
    },
    Rule {
        within: "conformance",
        except: &["conformance/kubernetes.rs", "conformance/exec.rs", "conformance/port_forward.rs"],
        never: &["kube", "k8s_openapi"],
    },
    Rule {
        within: "attachment",
        except: &[],
        never: &["crate::bus", "crate::event", "crate::cluster", "crate::task", "crate::worker", "crate::cli"],
    },
    // The contract.
    Rule {
        within: "event",
        except: &[],
        never: &["async_nats", "kube", "crate::bus", "crate::cluster", "crate::task", "crate::worker", "crate::cli"],
    },
    Rule {
        within: "bus",
        except: &[],
        never: &["kube", "crate::cluster", "crate::task", "crate::worker", "crate::cli"],
    },
    // The compiler keeps clients out of the analysis crate; its rules must not read files, the environment or time either.
    Rule {
        within: "analysis",
        except: &["analysis/source/files.rs", "analysis/rules/tests.rs"],
        never: &["std::fs", "std::env", "std::net", "std::time::SystemTime"],
    },
    Rule { within: "analysis/rules", except: &["analysis/rules/tests.rs"], never: &["crate::source"] },
    Rule {
        within: "cluster",
        except: &[],
        never: &[
            "async_nats",
            "cloudevents",
            "crate::bus",
            "crate::event",
            "crate::task",
            "crate::worker",
            "crate::client",
            "crate::cli",
        ],
    },
    Rule {
        within: "task",
        except: &[],
        never: &["async_nats", "cloudevents", "crate::bus", "crate::worker", "crate::client", "crate::cli"],
    },
    // What is known of Istio, and its charts: no client of anything.
    Rule {
        within: "mesh",
        except: &[],
        never: &[
            "async_nats",
            "cloudevents",
            "kube",
            "k8s_openapi",
            "tokio",
            "crate::bus",
            "crate::cluster",
            "crate::task",
        ],
    },
    Rule {
        within: "chart",
        except: &[],
        never: &[
            "async_nats",
            "cloudevents",
            "kube",
            "k8s_openapi",
            "crate::bus",
            "crate::cluster",
            "crate::mesh",
            "crate::task",
        ],
    },
    // The translation of SMI is a pure function.
    Rule {
        within: "smi",
        except: &[],
        never: &["async_nats", "cloudevents", "kube", "k8s_openapi", "tokio", "std::fs", "std::env", "std::net"],
    },
    Rule {
        within: "smi_controller",
        except: &[],
        never: &[
            "async_nats",
            "cloudevents",
            "crate::bus",
            "crate::task",
            "crate::worker",
            "crate::client",
            "crate::cli",
        ],
    },
    Rule { within: "worker", except: &[], never: &["async_nats", "kube", "crate::client", "crate::cli"] },
    // A worker is put together in serve.rs and watched in readiness.rs; the engine knows the bus by its port.
    Rule { within: "worker", except: &["worker/serve.rs", "worker/readiness.rs"], never: &["crate::bus::nats"] },
    Rule {
        within: "client",
        except: &[],
        never: &["kube", "crate::cluster", "crate::task", "crate::worker", "crate::cli"],
    },
    Rule {
        within: "report",
        except: &[],
        never: &["async_nats", "kube", "tokio", "crate::bus", "crate::client", "crate::worker", "crate::cli"],
    },
    // A producer and observer of the bus.
    Rule {
        within: "bridge",
        except: &[],
        never: &["async_nats", "kube", "crate::cluster", "crate::task", "crate::worker", "crate::cli"],
    },
    // Pages read the bus through the client.
    Rule {
        within: "dashboard",
        except: &[],
        never: &["async_nats", "kube", "crate::cluster", "crate::task", "crate::worker", "crate::cli"],
    },
    // The gateway sends and reads through the client.
    Rule {
        within: "gateway",
        except: &[],
        never: &[
            "async_nats",
            "kube",
            "crate::cluster",
            "crate::task",
            "crate::worker",
            "crate::cli",
            "crate::dashboard",
        ],
    },
    // Parts of all HTTP servers.
    Rule {
        within: "web",
        except: &[],
        never: &[
            "async_nats",
            "kube",
            "crate::bus",
            "crate::client",
            "crate::cluster",
            "crate::task",
            "crate::worker",
            "crate::cli",
            "crate::dashboard",
            "crate::gateway",
        ],
    },
    // One file to change when the crate is replaced.
    Rule { within: "", except: &["retry.rs"], never: &["backoff"] },
    Rule {
        within: "",
        except: &["config.rs", "config/"],
        never: &["std::env::var", "std::env::var_os", "std::env::vars", "std::env::vars_os", "std::env::home_dir"],
    },
];

/// The source folders of the workspace, and the prefix under which [`RULES`] know their files.
const SOURCES: &[(&str, &str)] = &[
    ("src", ""),
    ("crates/analysis/src", "analysis/"),
    ("crates/base/src", "base/"),
    ("crates/analyze/src", "analyze/"),
];

/// Name, as [`RULES`] know it, and text of each source file.
fn files() -> Vec<(String, String)> {
    fn walk(root: &Path, prefix: &str, folder: &Path, into: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, prefix, &path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
                into.push((format!("{prefix}{name}"), text));
            }
        }
    }
    let mut files = Vec::new();
    for (folder, prefix) in SOURCES {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        walk(&root, prefix, &root, &mut files);
    }
    files.sort();
    files
}

/// The code without comments, strings and character literals; line breaks stay.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with('"') {
            quoted(rest)
        } else if let Some(hashes) = raw_string(rest).filter(|_| !ends_in_word(&out)) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = 2 + hashes;
            rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len())
        } else if rest.starts_with("'\"'") {
            3
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        out.push(' ');
        rest = &rest[skipped..];
    }
    out
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return index + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// Number of hashes of a raw string that begins here.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?;
    let rest = hashes.trim_start_matches('#');
    rest.starts_with('"').then_some(hashes.len() - rest.len())
}

fn ends_in_word(text: &str) -> bool {
    text.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Each path that the code names, from its first segment, with its line. `use` trees are unfolded.
fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    while let Some(start) = code[at..].find(word).map(|start| at + start) {
        let end = code[start..].find(|c: char| !word(c) && c != ':').map_or(code.len(), |end| start + end);
        let path = code[start..end].trim_end_matches(':');
        let line = code[..start].matches('\n').count() + 1;
        if path == "use" {
            let close = code[end..].find(';').map_or(code.len(), |close| end + close);
            unfold("", &code[end..close], line, &mut found);
            at = close;
        } else {
            if path.contains("::") {
                found.push((line, path.to_owned()));
            }
            at = end;
        }
    }
    found
}

fn unfold(prefix: &str, tree: &str, line: usize, found: &mut Vec<(usize, String)>) {
    let tree = tree.trim();
    let Some((head, inside)) = tree.split_once('{') else {
        let name = tree.split_whitespace().next().unwrap_or_default();
        found.push((line, format!("{prefix}{name}").trim_end_matches("::self").to_owned()));
        return;
    };
    let prefix = format!("{prefix}{}", head.trim());
    let inside = inside.strip_suffix('}').unwrap_or(inside);
    let mut depth = 0;
    let parts = inside.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    parts.filter(|part| !part.trim().is_empty()).for_each(|part| unfold(&prefix, part, line, found));
}

fn names(path: &str, forbidden: &str) -> bool {
    path.strip_prefix(forbidden).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn no_layer_uses_a_forbidden_module() {
    let mut wrong = Vec::new();
    for (file, text) in files() {
        let paths = paths(&code(&text));
        for rule in RULES {
            let within = rule.within.is_empty()
                || file.starts_with(&format!("{}/", rule.within))
                || file == format!("{}.rs", rule.within);
            if !within || rule.except.iter().any(|except| file.starts_with(except)) {
                continue;
            }
            for (line, path) in &paths {
                if let Some(never) = rule.never.iter().find(|never| names(path, never)) {
                    wrong.push(format!("{file}:{line} names {path}; nothing here may name {never}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Names of all packages that `Cargo.lock` has below a package, with features and tests of any crate of the workspace.
fn dependencies(package: &str) -> BTreeSet<String> {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let mut below: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in lock.split("[[package]]").skip(1) {
        let name = part.lines().find_map(|line| line.strip_prefix("name = ")).unwrap().trim_matches('"');
        // ` "name"` or ` "name version"`.
        let listed = part.lines().filter_map(|line| line.strip_prefix(" \"")?.split(['"', ' ']).next());
        below.entry(name.to_owned()).or_default().extend(listed.map(str::to_owned));
    }
    assert!(below.contains_key(package), "{package}");
    let mut found = BTreeSet::new();
    let mut open = vec![package.to_owned()];
    while let Some(name) = open.pop() {
        if found.insert(name.clone()) {
            open.extend(below.get(&name).into_iter().flatten().cloned());
        }
    }
    found
}

#[test]
fn small_analyzer_needs_no_runtime_and_no_network() {
    let found = dependencies("sailhand-analyze");
    assert!(found.contains("sailhand-analysis") && found.len() < 150, "{}", found.len());
    for heavy in ["tokio", "rustls", "ring", "hyper", "async-nats", "kube", "kube-client", "tonic", "sailhand"] {
        assert!(dependencies("sailhand").contains(heavy), "the reader of Cargo.lock does not find {heavy}");
        assert!(!found.contains(heavy), "sailhand-analyze depends on {heavy}");
    }
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = files()
        .into_iter()
        .map(|(file, text)| (file, text.lines().count()))
        .filter(|(file, lines)| *lines > LINES && !GENERATED.contains(&file.as_str()))
        .map(|(file, lines)| format!("{file}:{LINES} goes on to line {lines}"))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

/// A file below a layer's folder that its `main.rs` does not declare would not run; a loose one would be a program of its
/// own, which links the whole tree once more.
#[test]
fn every_test_file_belongs_to_a_layer() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let names = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        entries.collect()
    };
    let mut wrong = Vec::new();
    let mut layers = 0;
    for name in names(&tests) {
        let folder = tests.join(&name);
        if name.strip_suffix(".rs").is_some() && name != "chaos_run.rs" {
            wrong.push(format!("tests/{name} is in no layer: move it into one of tests/it_*"));
        } else if name.starts_with("it_") {
            layers += 1;
            let main = fs::read_to_string(folder.join("main.rs")).unwrap();
            let modules = names(&folder).into_iter().filter_map(|file| file.strip_suffix(".rs").map(str::to_owned));
            let missing = modules.filter(|module| module != "main" && !main.contains(&format!("\nmod {module};")));
            wrong.extend(missing.map(|module| format!("tests/{name}/main.rs does not declare {module}")));
        }
    }
    assert!(wrong.is_empty() && layers > 8, "{wrong:#?}");
}

#[test]
fn path_reader_ignores_comments_and_strings() {
    let text = r##"
        //! kube::Client is not named here
        use crate::{error::Code, bus::{self, nats::{NatsBus, topology}}};
        use kube as cluster;
        /* async_nats::Client */ fn f() { let a = "std::env::var"; std::env::var_os(r#"x " kube::Api"#); 'a: loop {} }
    "##;
    let found = paths(&code(text));
    let wanted = [
        (3, "crate::error::Code"),
        (3, "crate::bus"),
        (3, "crate::bus::nats::NatsBus"),
        (3, "crate::bus::nats::topology"),
        (4, "kube"),
        (5, "std::env::var_os"),
    ];
    assert_eq!(found, wanted.map(|(line, path)| (line, path.to_owned())));
    assert!(names("crate::bus::nats::NatsBus", "crate::bus") && !names("crate::business", "crate::bus"));
}
