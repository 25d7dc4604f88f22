//! A language server for editors: findings while typing, pages of rules on hover, quick fixes. It talks the Language
//! Server Protocol on standard input and output, and analyzes files only.
//!
//! After a keystroke it parses the changed documents and checks their objects against the objects of the workspace, in
//! a few milliseconds. When nothing was typed for [`PAUSE`], `run.rs` analyzes the whole workspace beside, as `sailhand
//! analyze` does, and its findings replace the others.

mod actions;
mod document;
mod protocol;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;
use crossbeam_channel::{Receiver, Sender, never, select};
use lsp_server::{Connection, ErrorCode, Message, Notification, Request, Response};
use sailhand_analysis::suppress::Suppressions;
use sailhand_analysis::{Rule, Snapshot};
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use document::Document;
use protocol::{Diagnostic, DidChange, DidOpen, Encoding, Initialize, OfDocument, path_of, uri_of};
use run::{Job, Outcome};

use crate::{Error, Filter};

/// Time without a change after which the whole workspace is analyzed.
const PAUSE: Duration = Duration::from_millis(300);
/// Maximum number of files with findings that are published although they are not open.
const MOST_CLOSED: usize = 1_000;
/// Longest document that is analyzed while it is typed, bytes.
const MOST_TEXT: usize = 8 << 20;
/// Maximum number of documents that may be open.
const MOST_OPEN: usize = 1_000;

/// Options of the language server.
#[derive(Debug, Clone, Default, Args)]
pub struct ServerOptions {
    /// Report only these codes, or the codes of these rules
    #[arg(long, value_name = "CODE,RULE", value_delimiter = ',')]
    pub codes: Vec<String>,
    /// Suppress a code, or a code for some objects: `IST0102`, `IST0102=Namespace test-*`
    #[arg(short = 'S', long, value_name = "CODE[=OBJECT]")]
    pub suppress: Vec<String>,
    /// Namespace of objects that have none, as with `kubectl apply -n`
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The workspace contains all objects of the cluster: an object that is not among them does not exist
    #[arg(long)]
    pub whole_cluster: bool,
    /// DNS domain of the cluster [default: the one in istiod's arguments, otherwise cluster.local]
    #[arg(long, value_name = "DOMAIN")]
    pub cluster_domain: Option<String>,
    /// Use standard input and output, the only transport
    #[arg(long, hide = true)]
    pub stdio: bool,
}

/// What the options select.
struct Context {
    filter: Filter,
    suppressions: Suppressions,
    namespace: Option<String>,
    whole_cluster: bool,
    cluster_domain: Option<String>,
}

/// Serves an editor on standard input and output until it ends the connection. `now` is the time in Unix seconds.
///
/// # Errors
/// [`Error::Argument`] for unknown codes, [`Error::Local`] if the editor breaks the protocol or the connection.
pub fn serve(options: &ServerOptions, now: fn() -> i64) -> Result<(), Error> {
    let (connection, threads) = Connection::stdio();
    let served = serve_on(&connection, options, now);
    // The thread that writes ends with the connection.
    drop(connection);
    served?;
    threads.join().map_err(|source| Error::local("write to the editor", source))
}

/// The same on any connection.
///
/// # Errors
/// The same.
pub fn serve_on(connection: &Connection, options: &ServerOptions, now: fn() -> i64) -> Result<(), Error> {
    let context = Context {
        filter: Filter::new(&options.codes)?,
        suppressions: crate::patterns(&options.suppress)?,
        namespace: options.namespace.clone(),
        whole_cluster: options.whole_cluster,
        cluster_domain: options.cluster_domain.clone(),
    };
    let broken =
        |error: &dyn std::fmt::Display| Error::local("talk to the editor", std::io::Error::other(error.to_string()));
    let (id, params) = connection.initialize_start().map_err(|error| broken(&error))?;
    let params: Initialize = serde_json::from_value(params).unwrap_or_default();
    let encoding = Encoding::of(&params.capabilities.general.position_encodings);
    let capabilities = json!({
        "capabilities": {
            "positionEncoding": encoding.name(),
            "textDocumentSync": {"openClose": true, "change": 2, "save": true},
            "hoverProvider": true,
            "codeActionProvider": {"codeActionKinds": [actions::QUICK_FIX, actions::FIX_ALL]},
            "workspace": {"workspaceFolders": {"supported": true, "changeNotifications": true}},
        },
        "serverInfo": {"name": "sailhand", "version": env!("CARGO_PKG_VERSION")},
    });
    connection.initialize_finish(id, capabilities).map_err(|error| broken(&error))?;
    let mut server = Server::new(connection, Arc::new(context), encoding, now, &params);
    server.watch_files(params.capabilities.workspace.did_change_watched_files.dynamic_registration);
    server.run().map_err(|error| broken(&error))
}

#[allow(clippy::disallowed_types, reason = "the timers of crossbeam have this type")]
struct Server<'a> {
    connection: &'a Connection,
    context: Arc<Context>,
    rules: Arc<[&'static Rule]>,
    encoding: Encoding,
    now: fn() -> i64,
    /// Folders of the workspace.
    folders: Vec<PathBuf>,
    /// Open documents by URI.
    documents: BTreeMap<String, Document>,
    /// Objects of the last full analysis, with those of documents that have changed since.
    workspace: Option<Workspace>,
    /// Files that the last full analysis read as manifests.
    manifests: BTreeSet<PathBuf>,
    /// Files with findings at the editor that are not open.
    published: BTreeSet<PathBuf>,
    /// The last warning that was shown.
    warning: Option<String>,
    outcomes: (Sender<Outcome>, Receiver<Outcome>),
    is_running: bool,
    /// Fires when the workspace is to be analyzed.
    due: Receiver<std::time::Instant>,
}

/// Objects against which a changed document is checked.
pub(crate) struct Workspace {
    pub snapshot: Snapshot,
    pub is_of_one_cluster: bool,
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

impl<'a> Server<'a> {
    fn new(
        connection: &'a Connection,
        context: Arc<Context>,
        encoding: Encoding,
        now: fn() -> i64,
        params: &Initialize,
    ) -> Self {
        let folders = params.workspace_folders.iter().flatten().map(|folder| folder.uri.as_str());
        let mut folders: Vec<PathBuf> = folders.filter_map(path_of).collect();
        if folders.is_empty() {
            folders.extend(params.root_uri.as_deref().and_then(path_of));
        }
        Self {
            connection,
            rules: context.filter.rules().into(),
            context,
            encoding,
            now,
            folders,
            documents: BTreeMap::new(),
            workspace: None,
            manifests: BTreeSet::new(),
            published: BTreeSet::new(),
            warning: None,
            outcomes: crossbeam_channel::unbounded(),
            is_running: false,
            due: crossbeam_channel::after(Duration::ZERO),
        }
    }

    /// Handles messages until the editor shuts the server down or closes the connection.
    fn run(&mut self) -> Result<(), Broken> {
        let (messages, outcomes) = (self.connection.receiver.clone(), self.outcomes.1.clone());
        loop {
            let due = self.due.clone();
            select! {
                recv(messages) -> message => match message {
                    Ok(Message::Request(request)) => {
                        if self.connection.handle_shutdown(&request)? {
                            return Ok(());
                        }
                        let response = self.respond(request);
                        self.connection.sender.send(response.into())?;
                    }
                    Ok(Message::Notification(notification)) => self.notice(notification)?,
                    Ok(Message::Response(_)) => {}
                    Err(_) => return Ok(()),
                },
                recv(outcomes) -> outcome => if let Ok(outcome) = outcome {
                    self.take(outcome)?;
                },
                recv(due) -> _ => self.start(),
            }
        }
    }

    fn respond(&self, request: Request) -> Response {
        let invalid = |id, error: &dyn std::fmt::Display| {
            Response::new_err(id, ErrorCode::InvalidParams as i32, format!("invalid parameters: {error}"))
        };
        let id = request.id;
        match request.method.as_str() {
            "textDocument/hover" => match serde_json::from_value::<protocol::Hover>(request.params) {
                Ok(params) => {
                    let document = self.documents.get(&params.text_document.uri);
                    Response::new_ok(id, document.map(|it| actions::hover(it, params.position, self.encoding)))
                }
                Err(error) => invalid(id, &error),
            },
            "textDocument/codeAction" => match serde_json::from_value::<protocol::CodeAction>(request.params) {
                Ok(params) => {
                    let document = self.documents.get(&params.text_document.uri);
                    Response::new_ok(id, document.map(|it| actions::actions(it, &params, self.encoding)))
                }
                Err(error) => invalid(id, &error),
            },
            method => {
                Response::new_err(id, ErrorCode::MethodNotFound as i32, format!("method {method} is not supported"))
            }
        }
    }

    fn notice(&mut self, notification: Notification) -> Result<(), Broken> {
        let Notification { method, params } = notification;
        match method.as_str() {
            "textDocument/didOpen" => {
                let Some(DidOpen { text_document: it }) = read(params) else { return Ok(()) };
                if it.text.len() > MOST_TEXT {
                    return self.warn_of_length(&it.uri);
                }
                if self.documents.len() >= MOST_OPEN {
                    let uri = it.uri;
                    return self.warn(&format!("{uri} is not analyzed while you type: {MOST_OPEN} documents are open"));
                }
                let path = path_of(&it.uri);
                if let Some(path) = &path {
                    self.published.remove(path);
                }
                let mut document = Document::new(it.uri.clone(), it.version, it.text);
                let is_manifest = path.is_some_and(|path| self.manifests.contains(&path));
                document.begin(is_manifest, self.workspace.as_mut(), &self.context, &self.rules);
                let diagnostics = document.diagnostics(self.encoding);
                self.documents.insert(it.uri.clone(), document);
                self.schedule();
                if self.workspace.is_some() {
                    self.publish(&it.uri, Some(it.version), &diagnostics)?;
                }
            }
            "textDocument/didChange" => {
                let Some(change): Option<DidChange> = read(params) else { return Ok(()) };
                return self.change(&change);
            }
            "textDocument/didClose" => {
                let Some(OfDocument { text_document: it }) = read(params) else { return Ok(()) };
                return self.forget(&it.uri);
            }
            "workspace/didChangeWorkspaceFolders" => {
                let uris = |list: &str| -> Vec<PathBuf> {
                    let list = params["event"][list].as_array().into_iter().flatten();
                    list.filter_map(|folder| path_of(folder["uri"].as_str()?)).collect()
                };
                let (added, removed) = (uris("added"), uris("removed"));
                self.folders.retain(|folder| !removed.contains(folder));
                self.folders.extend(added);
                self.schedule();
            }
            "textDocument/didSave" | "workspace/didChangeWatchedFiles" | "workspace/didChangeConfiguration" => {
                self.schedule();
            }
            _ => {}
        }
        Ok(())
    }

    fn change(&mut self, change: &DidChange) -> Result<(), Broken> {
        let Some(document) = self.documents.get_mut(&change.text_document.uri) else { return Ok(()) };
        document.edit(change.text_document.version, &change.content_changes, self.encoding);
        let uri = &change.text_document.uri;
        if document.text().len() > MOST_TEXT {
            self.warn_of_length(uri)?;
            return self.forget(uri);
        }
        document.check(self.workspace.as_mut(), &self.context, &self.rules);
        let (version, diagnostics) = (document.version, document.diagnostics(self.encoding));
        self.publish(uri, Some(version), &diagnostics)?;
        self.schedule();
        Ok(())
    }

    /// Forgets the text of a document, so that its file counts as it is on disk.
    fn forget(&mut self, uri: &str) -> Result<(), Broken> {
        self.documents.remove(uri);
        self.publish(uri, None, &[])?;
        self.schedule();
        Ok(())
    }

    fn schedule(&mut self) {
        self.due = crossbeam_channel::after(PAUSE);
    }

    /// Starts a full analysis; if one is running, tries again after a pause.
    fn start(&mut self) {
        self.due = never();
        if self.is_running {
            self.schedule();
            return;
        }
        let text = |(uri, document): (&String, &Document)| Some((path_of(uri)?, document.text().to_owned()));
        let texts: Vec<(PathBuf, String)> = self.documents.iter().filter_map(text).collect();
        // A folder has neither files outside of it nor those that were never saved.
        let is_found = |path: &PathBuf| path.is_file() && self.folders.iter().any(|folder| path.starts_with(folder));
        let outside = texts.iter().map(|(path, _)| path).filter(|path| !is_found(path));
        let paths = self.folders.iter().chain(outside).cloned().collect();
        let job = Job { paths, texts, now: (self.now)() };
        let (context, rules, outcomes) = (self.context.clone(), self.rules.clone(), self.outcomes.0.clone());
        self.is_running = true;
        thread::spawn(move || {
            // The server may have ended.
            let _ = outcomes.send(run::run(&job, &context, &rules));
        });
    }

    /// Publishes the findings of a full analysis.
    fn take(&mut self, outcome: Outcome) -> Result<(), Broken> {
        self.is_running = false;
        let Outcome { mut problems, mut parts, analyzed, manifests, snapshot, is_of_one_cluster, warning } = outcome;
        self.manifests = manifests;
        let mut workspace = Workspace { snapshot, is_of_one_cluster };
        let mut published = Vec::new();
        for (uri, document) in &mut self.documents {
            let path = path_of(uri);
            let of_file = path.as_ref().and_then(|path| problems.remove(path)).map(|(_, problems)| problems);
            let of_file_parts = path.as_ref().and_then(|path| parts.remove(path));
            if path.as_ref().is_some_and(|path| analyzed.contains(path)) {
                document.take(&of_file.unwrap_or_default(), of_file_parts, &mut workspace);
            } else {
                // It was opened while the analysis ran.
                let is_manifest = path.is_some_and(|path| self.manifests.contains(&path));
                document.begin(is_manifest, Some(&mut workspace), &self.context, &self.rules);
            }
            published.push((uri.clone(), document.version, document.diagnostics(self.encoding)));
        }
        self.workspace = Some(workspace);
        for (uri, version, diagnostics) in published {
            self.publish(&uri, Some(version), &diagnostics)?;
        }
        let warning = warning.or_else(|| {
            (problems.len() > MOST_CLOSED)
                .then(|| format!("more than {MOST_CLOSED} files have findings; those of the rest are not shown"))
        });
        let mut now = BTreeSet::new();
        for (path, (text, problems)) in problems.into_iter().take(MOST_CLOSED) {
            self.publish(&uri_of(&path), None, &document::diagnostics(&text, &problems, self.encoding))?;
            now.insert(path);
        }
        for gone in self.published.difference(&now) {
            self.publish(&uri_of(gone), None, &[])?;
        }
        self.published = now;
        match warning {
            Some(text) if self.warning.as_ref() != Some(&text) => {
                self.warn(&text)?;
                self.warning = Some(text);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn publish(&self, uri: &str, version: Option<i64>, diagnostics: &[Diagnostic]) -> Result<(), Broken> {
        let mut params = json!({"uri": uri, "diagnostics": diagnostics});
        if let Some(version) = version {
            params["version"] = version.into();
        }
        self.send("textDocument/publishDiagnostics", params)
    }

    fn warn_of_length(&self, uri: &str) -> Result<(), Broken> {
        let most = MOST_TEXT >> 20;
        self.warn(&format!("{uri} is not analyzed while you type: it is longer than {most} MiB; reopen a shorter one"))
    }

    fn warn(&self, text: &str) -> Result<(), Broken> {
        self.send("window/showMessage", json!({"type": 2, "message": format!("sailhand: {text}")}))
    }

    fn send(&self, method: &str, params: Json) -> Result<(), Broken> {
        Ok(self.connection.sender.send(Notification { method: method.to_owned(), params }.into())?)
    }

    /// Asks the editor to report changes of files that are not open.
    fn watch_files(&self, can_register: bool) {
        if !can_register {
            return;
        }
        let watchers = json!([{"globPattern": "**/*.{yaml,yml,json}"}]);
        let registration = json!({
            "id": "files",
            "method": "workspace/didChangeWatchedFiles",
            "registerOptions": {"watchers": watchers},
        });
        let params = json!({"registrations": [registration]});
        let request = Request { id: "files".to_owned().into(), method: "client/registerCapability".to_owned(), params };
        // A closed connection is noticed by the loop.
        let _ = self.connection.sender.send(request.into());
    }
}

/// The parameters of a notification; none if they are not of its form.
fn read<T: DeserializeOwned>(params: Json) -> Option<T> {
    serde_json::from_value(params).ok()
}
