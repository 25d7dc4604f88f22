//! Parses texts in parallel: documents to objects, lists to their items. Counts documents that no rule uses.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::super::resource::group_and_version;
use super::super::rules::schema::unknown_kind;
use super::super::{Kind, Resource, SourceSpan, Value, generated};
use super::block;
use super::budget::{Budget, Limits};
use super::error::Place;
use super::split::{Document, split};
use super::yaml::{self, Fault, RepeatedKey};
use super::{Build, Error, Source, Sources};

/// Documents that one thread parses at once.
const CHUNK: usize = 64;

/// Result of reading.
#[derive(Debug, Default)]
pub struct Reading {
    /// Objects in the order of the texts.
    pub resources: Vec<Resource>,
    /// Documents and files that could not be read.
    pub errors: Vec<Error>,
    /// Number of objects by `group/Kind`, for kinds that no rule uses.
    pub others: BTreeMap<String, usize>,
    /// Number of documents by file that are not Kubernetes objects, such as Helm values.
    pub foreign: BTreeMap<u32, usize>,
}

impl Reading {
    fn append(&mut self, mut more: Self) {
        self.resources.append(&mut more.resources);
        self.errors.append(&mut more.errors);
        for (file, count) in more.foreign {
            *self.foreign.entry(file).or_default() += count;
        }
        for (kind, count) in more.others {
            *self.others.entry(kind).or_default() += count;
        }
    }
}

/// Parses all documents of all texts.
#[must_use]
pub fn read(sources: &Sources, threads: NonZero<usize>) -> Reading {
    read_within(sources, threads, Limits::default())
}

/// The same within limits of the caller.
#[must_use]
pub fn read_within(sources: &Sources, threads: NonZero<usize>, limits: Limits<'_>) -> Reading {
    let most = limits.most_text();
    let budget = Budget::new(sources.files.iter().map(|source| source.text.len()).sum());
    let mut whole = Reading::default();
    let mut documents: Vec<(u32, Document)> = Vec::new();
    for (number, source) in (0..).zip(&sources.files) {
        if source.is_built {
            continue;
        }
        if source.text.len() > most {
            let place = Place { file: source.name.clone(), line: 1 };
            let what = format!("the text exceeds the limit of {} MiB", most >> 20);
            whole.errors.push(Error::Limit { place, what });
        } else {
            documents.extend(split(&source.text).into_iter().map(|document| (number, document)));
        }
    }
    let chunks: Vec<&[(u32, Document)]> = documents.chunks(CHUNK).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut parts = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(chunk) = chunks.get(index) else { return parts };
            let mut reading = Reading::default();
            for (number, document) in *chunk {
                if limits.is_cancelled() || budget.is_hopeless() {
                    break;
                }
                if let Some(source) = sources.get(*number) {
                    read_document(source, *number, *document, &budget, &mut reading);
                }
            }
            parts.push((index, reading));
        }
    };
    let threads = threads.get().min(chunks.len());
    let mut parts = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut parts = work();
        for other in others {
            match other.join() {
                Ok(more) => parts.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        parts
    });
    parts.sort_unstable_by_key(|(index, _)| *index);
    for (_, part) in parts {
        whole.append(part);
    }
    for build in &sources.builds {
        read_build(build, sources, &mut whole);
    }
    if sources.is_partial() {
        whole.resources.push(generated::anything("the folder"));
    }
    whole
}

/// Adds the objects of a kustomization.
fn read_build(build: &Build, sources: &Sources, reading: &mut Reading) {
    let before = reading.resources.len();
    for object in &build.objects {
        let Some(source) = sources.get(object.origin.file) else { continue };
        let repeated: Vec<&RepeatedKey> = object.repeated.iter().collect();
        unfold(object.root.clone(), object.origin, &repeated, source, reading);
    }
    for resource in &mut reading.resources[before..] {
        resource.build = Some(build.name.clone());
    }
}

/// Parses one value, such as a `MeshConfig`. `name` identifies the text in errors.
///
/// # Errors
/// The text is not valid YAML or JSON, or it exceeds a limit.
pub fn read_value(name: &str, text: &str) -> Result<Value, Error> {
    let read = yaml::read(text, &Budget::new(text.len()));
    read.map(|document| document.root).map_err(|fault| error(name, text, 1, fault))
}

fn read_document(source: &Source, number: u32, document: Document, budget: &Budget, reading: &mut Reading) {
    let text = &source.text[document.start..document.end];
    let origin = document.span(number);
    match parse(text, budget) {
        Ok(yaml::Document { root: Value::Null, .. }) => {}
        Ok(yaml::Document { root, repeated }) => {
            let repeated: Vec<&RepeatedKey> = repeated.iter().collect();
            unfold(root, origin, &repeated, source, reading);
        }
        Err(fault) => match json_stream(text, origin) {
            Some(values) => values.into_iter().for_each(|(root, origin)| unfold(root, origin, &[], source, reading)),
            None if budget.count_error() => reading.errors.push(error(&source.name, text, document.line, fault)),
            None => {
                let place = Place { file: source.name.clone(), line: document.line };
                let what = "too many documents cannot be read; the documents after this one were skipped".to_owned();
                reading.errors.push(Error::Limit { place, what });
            }
        },
    }
}

/// Concatenated JSON values, which `kubectl` accepts too, each with its position.
fn json_stream(text: &str, whole: SourceSpan) -> Option<Vec<(Value, SourceSpan)>> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut values = Vec::new();
    let mut last = 0;
    let mut line = whole.line;
    while let Some(value) = stream.next() {
        // Line where the value starts, after blank lines.
        let start = last + text[last..].len() - text[last..].trim_start().len();
        line += u32::try_from(text[last..start].matches('\n').count()).unwrap_or(0);
        let end = stream.byte_offset();
        let place = |offset: usize| whole.start.saturating_add(u32::try_from(offset).unwrap_or(u32::MAX));
        values.push((value.ok()?, SourceSpan { line, start: place(start), end: place(end), ..whole }));
        line += u32::try_from(text[start..end].matches('\n').count()).unwrap_or(0);
        last = end;
    }
    Some(values)
}

/// A YAML flow mapping looks like JSON; the JSON parser is faster, so it is tried first.
pub(super) fn parse(text: &str, budget: &Budget) -> Result<yaml::Document, Fault> {
    if text.trim_start().starts_with('{')
        && let Ok(root) = serde_json::from_str(text)
    {
        return Ok(yaml::Document { root, ..yaml::Document::default() });
    }
    let plain = block::read(text).map(|root| yaml::Document { root, ..yaml::Document::default() });
    plain.map_or_else(|| yaml::read(text, budget), Ok)
}

fn error(name: &str, text: &str, first_line: usize, fault: Fault) -> Error {
    let place = |line: usize| Place { file: name.to_owned(), line: first_line + line.max(1) - 1 };
    match fault {
        Fault::Syntax { line, reason } => {
            let reason = reason + likely_cause(text.lines().nth(line.max(1) - 1).unwrap_or_default());
            Error::Unreadable { place: place(line), reason, template: text.contains("{{") }
        }
        Fault::Limit { line, what } => Error::Limit { place: place(line), what },
    }
}

/// The probable cause of a line that cannot be parsed.
fn likely_cause(line: &str) -> &'static str {
    let indent = &line[..line.len() - line.trim_start().len()];
    if indent.contains('\t') {
        "; the line is indented with a tab, and YAML allows spaces only"
    } else if line.trim_end().len() > 3 && line.trim_end().ends_with("---") {
        "; the line ends in ---, which separates documents only on a line of its own"
    } else {
        ""
    }
}

/// Items of a `List` or any other `…List` that the API server returns; otherwise the object itself.
fn unfold(root: Value, origin: SourceSpan, repeated: &[&RepeatedKey], source: &Source, reading: &mut Reading) {
    let before = reading.resources.len();
    unfold_any(root, origin, repeated, source, reading);
    if let Some(namespace) = &source.namespace {
        for resource in &mut reading.resources[before..] {
            if resource.kind.is_namespaced() {
                resource.namespace = namespace.into();
                resource.is_namespace_assumed = false;
            }
        }
    }
}

fn unfold_any(root: Value, origin: SourceSpan, repeated: &[&RepeatedKey], source: &Source, reading: &mut Reading) {
    let (Some(api_version), Some(kind)) = (root["apiVersion"].as_str(), root["kind"].as_str()) else {
        if let Some((key, _)) = root.entries().iter().find(|(key, _)| key.starts_with("---") && key.len() > 3) {
            let line = usize::try_from(origin.line).unwrap_or(1);
            let reason = format!("the key {key} begins with ---, which separates documents only on a line of its own");
            let place = Place { file: source.name.clone(), line };
            reading.errors.push(Error::Unreadable { place, reason, template: false });
        }
        *reading.foreign.entry(origin.file).or_default() += 1;
        return;
    };
    if kind.ends_with("List") && matches!(root["items"], Value::List(_)) {
        let of = (api_version.to_owned(), kind.strip_suffix("List").unwrap_or_default().to_owned());
        for (index, item) in (0..).zip(take_items(root)) {
            // Items of a typed list may omit apiVersion and kind, which the list determines.
            let item = if item["kind"].is_null() { with_type(item, &of) } else { item };
            let own: Vec<RepeatedKey> = of_item(repeated, index);
            unfold_any(
                item,
                SourceSpan { item: Some(index), ..origin },
                &own.iter().collect::<Vec<_>>(),
                source,
                reading,
            );
        }
        return;
    }
    let (group, _) = group_and_version(api_version);
    let name = if group.is_empty() { kind.to_owned() } else { format!("{group}/{kind}") };
    if Kind::find(group, kind).is_none() {
        reading.resources.extend(generated::of_unknown(&root));
        if unknown_kind::is_unknown(group, kind) {
            reading.resources.push(Resource { origin: Some(origin), ..Resource::of_unknown_kind(root) });
            return;
        }
        *reading.others.entry(name).or_default() += 1;
    } else if let Some(resource) = Resource::from_value(root) {
        reading.resources.extend(generated::of_known(&resource));
        let repeated = repeated.iter().map(|one| (*one).clone()).collect();
        reading.resources.push(Resource { origin: Some(origin), repeated, ..resource });
    }
}

/// The repeated keys of one item of a list, as paths within the item.
fn of_item(repeated: &[&RepeatedKey], index: u32) -> Vec<RepeatedKey> {
    if repeated.is_empty() {
        return Vec::new();
    }
    let prefix = format!("items[{index}]");
    let own = |one: &&RepeatedKey| {
        let field = one.field.strip_prefix(&prefix)?;
        let field = field.strip_prefix('.').unwrap_or(field).to_owned();
        Some(RepeatedKey { field, ..(*one).clone() })
    };
    repeated.iter().filter_map(own).collect()
}

fn take_items(root: Value) -> Vec<Value> {
    let Value::Map(entries) = root else { return Vec::new() };
    let items = entries.into_iter().find(|(key, _)| key == "items");
    match items {
        Some((_, Value::List(items))) => items.into_vec(),
        _ => Vec::new(),
    }
}

fn with_type(item: Value, (api_version, kind): &(String, String)) -> Value {
    let Value::Map(entries) = item else { return item };
    let mut entries = entries.into_vec();
    entries.push(("apiVersion".into(), Value::string(api_version)));
    entries.push(("kind".into(), Value::string(kind)));
    Value::Map(entries.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(text: &str) -> Reading {
        let mut sources = Sources::default();
        sources.add("a.yaml", text.to_owned());
        read(&sources, NonZero::<usize>::MIN)
    }

    #[test]
    fn invalid_document_does_not_affect_others() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\na: {{ .Values.x }}\n  b\n---\nkind: x\n---\n\
                    apiVersion: v1\nkind: Pod\nmetadata: {name: b, namespace: ns}\n---\napiVersion: v1\nkind: Event\n";
        let read = reading(text);
        let names: Vec<String> = read.resources.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["Pod a", "Pod ns/b"]);
        assert_eq!(read.resources[1].origin.map(|origin| origin.line), Some(9));
        assert_eq!(read.foreign.into_iter().collect::<Vec<_>>(), [(0, 1)]);
        assert_eq!(read.others.into_iter().collect::<Vec<_>>(), [("Event".to_owned(), 1)]);
        assert!(matches!(&read.errors[..], [Error::Unreadable { template: true, .. }]), "{:?}", read.errors);
    }

    #[test]
    fn concatenated_json_is_accepted() {
        let text = "{\"apiVersion\":\"v1\",\n\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"}}\n\n{\"x\":1}{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\n\
                    \"metadata\":{\"name\":\"b\"}}\n";
        let read = reading(text);
        assert!(read.errors.is_empty(), "{:?}", read.errors);
        let found: Vec<_> = read.resources.iter().map(|it| (it.name.as_str(), it.origin.map(|at| at.line))).collect();
        assert_eq!(found, [("a", Some(1)), ("b", Some(4))]);
        assert!(!reading("{\"a\": 1}\n{\"b\": ").errors.is_empty());
    }

    #[test]
    fn lists_of_every_form_are_expanded() {
        let text = r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}},
            {"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"b"}}]}]}"#;
        let read = reading(text);
        let names: Vec<String> = read.resources.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["Pod a", "Pod b"]);
    }
}
