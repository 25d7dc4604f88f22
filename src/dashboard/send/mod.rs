//! The page Send: a form for each verb, generated from its schema. It checks the parameters with the schema (rules that
//! a schema cannot express are checked by the worker), shows the equivalent command line and CloudEvent, and sends a dry
//! run or the command.

mod equivalent;
mod field;
mod form;

use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;

use axum::Form;
use axum::extract::{Extension, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::Schema;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::access::{Viewer, check_form};
use super::refusal::Refusal;
use super::{Shared, page, run};
use crate::client;
use crate::event::params::ParamsValidator;
use crate::event::{self, CommandDraft, CommandKey, Target};
use crate::hex::hex;
use field::{Field, Inputs, Unreadable};

/// `source` of the commands, followed by the user's name where it is known.
const SOURCE: &str = "urn:sailhand:dashboard";
/// Bytes of a command line or CloudEvent that are shown.
const SHOWN: usize = 64 << 10;
/// Hex digits of the parameters' digest in an id.
const DIGEST: usize = 12;

/// A verb that the page offers.
#[derive(Debug)]
pub struct Verb {
    /// Such as `mesh.install`.
    pub name: String,
    /// One sentence.
    pub summary: String,
    /// JSON Schema of the parameters.
    pub schema: Schema,
    /// Parameters of an example.
    pub example: Value,
}

/// All verbs that the page offers.
#[derive(Debug)]
pub struct Catalog {
    /// By name.
    pub verbs: BTreeMap<String, Verb>,
    /// What a command of this verb with these parameters deletes, in words.
    pub deletes: fn(&str, &Value) -> Option<String>,
}

impl Catalog {
    fn get(&self, name: &str) -> Result<&Verb, Refusal> {
        self.verbs.get(name).ok_or_else(|| Refusal::Missing(format!("verb {name}")))
    }
}

/// A command as the form has it.
struct Draft {
    target: String,
    inputs: Inputs,
    /// Part of the command's id. The same form sent twice is the same command.
    nonce: String,
}

/// The errors of a form.
enum Wrong {
    Target,
    Parameter(Unreadable),
    Command(event::Error),
}

/// A command that fits its schema.
struct Checked {
    target: Target,
    draft: CommandDraft,
    /// The CloudEvent.
    event: Value,
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(viewer): Extension<Viewer>,
) -> Result<Markup, Refusal> {
    allow(&viewer)?;
    let mut families: Vec<(&str, Vec<&Verb>)> = Vec::new();
    for (name, verb) in &shared.catalog.verbs {
        let family = name.split('.').next().unwrap_or_default();
        match families.last_mut().filter(|(last, _)| *last == family) {
            Some((_, verbs)) => verbs.push(verb),
            None => families.push((family, vec![verb])),
        }
    }
    let content = html! {
        p.lead { "Select a verb. Its form has the parameters, an example, and the equivalent command line and CloudEvent." }
        div.verbs {
            @for (family, verbs) in &families {
                section.card {
                    h2 { (family) }
                    ul.plain { @for verb in verbs { li {
                        a href={ "/send/" (verb.name) } { code.whole { (verb.name) } }
                        p.quiet { (verb.summary) }
                    } } }
                }
            }
        }
    };
    Ok(page::frame(&shared, &viewer, "/send", "Send a command", &content))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FormQuery {
    target: String,
    /// Whether the form has the parameters of the example.
    example: bool,
}

pub(super) async fn form(
    State(shared): State<Arc<Shared>>,
    Extension(viewer): Extension<Viewer>,
    Path(name): Path<String>,
    Query(query): Query<FormQuery>,
) -> Result<Markup, Refusal> {
    allow(&viewer)?;
    let verb = shared.catalog.get(&name)?;
    let fields = field::fields(verb.schema.as_value());
    let inputs = field::inputs(&fields, if query.example { &verb.example } else { &Value::Null });
    let nonce = hex(&rand::random::<[u8; 8]>());
    let draft = Draft { target: query.target, inputs, nonce };
    let shown =
        Shown { verb, fields: &fields, draft: &draft, deletes: shared.catalog.deletes, state: FormState::Empty };
    Ok(shown.page(&shared, &viewer).await)
}

/// Shows, rehearses or sends the command of a form.
pub(super) async fn act(
    State(shared): State<Arc<Shared>>,
    Extension(viewer): Extension<Viewer>,
    Path(name): Path<String>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    let text =
        |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, text)| text.clone()).unwrap_or_default();
    check_form(&viewer, &text("token"))?;
    let verb = shared.catalog.get(&name)?;
    let fields = field::fields(verb.schema.as_value());
    let (action, target, nonce) = (text("action"), text("target"), text("nonce"));
    let mut draft = Draft { target: target.trim().to_owned(), inputs: Inputs::new(), nonce };
    for (name, text) in pairs {
        if let Some(pointer) = name.strip_prefix('p') {
            draft.inputs.entry(pointer.to_owned()).or_default().push(text);
        }
    }
    let is_rehearsal = action == "dry_run" && field::has_dry_run(verb.schema.as_value());
    let checked = check(verb, &fields, &draft, source(&viewer), is_rehearsal);
    let state = match checked {
        Err(wrong) => FormState::Wrong(wrong),
        Ok(checked) if is_rehearsal || action == "send" => {
            let position = shared.position(shared.index().version());
            let key = shared.client.submit(&checked.target, checked.draft).await?.key;
            if !is_rehearsal {
                return Ok(Redirect::to(&format!("/runs/{key}?sent=true")).into_response());
            }
            FormState::Rehearsed { key, position }
        }
        Ok(checked) => FormState::Checked(Box::new(checked)),
    };
    let shown = Shown { verb, fields: &fields, draft: &draft, deletes: shared.catalog.deletes, state };
    Ok(shown.page(&shared, &viewer).await.into_response())
}

fn allow(viewer: &Viewer) -> Result<(), Refusal> {
    if viewer.may_act { Ok(()) } else { Err(Refusal::Action) }
}

fn source(viewer: &Viewer) -> String {
    match &viewer.name {
        Some(name) => format!("{SOURCE}:{}", utf8_percent_encode(name, NON_ALPHANUMERIC)),
        None => SOURCE.to_owned(),
    }
}

fn check(
    verb: &Verb,
    fields: &[Field<'_>],
    draft: &Draft,
    source: String,
    is_rehearsal: bool,
) -> Result<Checked, Wrong> {
    let mut params = field::params(fields, &draft.inputs).map_err(Wrong::Parameter)?;
    if is_rehearsal {
        params.insert(field::DRY_RUN.to_owned(), Value::Bool(true));
    }
    let params = Value::Object(params);
    let unusable = |reason| Wrong::Command(event::Error::NotAnEvent { reason });
    let validator = ParamsValidator::new(&verb.schema).map_err(unusable)?;
    validator.check(&params).map_err(|error| match error {
        event::Error::Params { path, reason } => Wrong::Parameter(Unreadable { pointer: path, reason }),
        other => Wrong::Command(other),
    })?;
    let target: Target = draft.target.parse().map_err(|()| Wrong::Target)?;
    let digest = hex(&Sha256::new().chain_update(target.as_str()).chain_update(params.to_string()).finalize());
    let id = format!("{}-{}", draft.nonce, digest.get(..DIGEST).unwrap_or_default());
    let draft = CommandDraft { id, source, verb: verb.name.clone(), params, ..CommandDraft::default() };
    let event = draft.event(&target, OffsetDateTime::now_utc()).map_err(Wrong::Command)?;
    let event = serde_json::to_value(&event).map_err(|error| unusable(error.to_string()))?;
    let bytes = event.to_string();
    if bytes.len() <= event::binding::MAX_BYTES {
        event::decode(&target, &draft.verb, &iter::empty(), bytes.as_bytes())
            .map_err(|rejection| Wrong::Command(rejection.error))?;
    }
    Ok(Checked { target, draft, event })
}

enum FormState {
    Empty,
    Wrong(Wrong),
    Checked(Box<Checked>),
    /// The dry run was sent.
    Rehearsed {
        key: CommandKey,
        position: String,
    },
}

/// The page of a verb.
struct Shown<'a> {
    verb: &'a Verb,
    fields: &'a [Field<'a>],
    draft: &'a Draft,
    deletes: fn(&str, &Value) -> Option<String>,
    state: FormState,
}

impl Shown<'_> {
    async fn page(&self, shared: &Shared, viewer: &Viewer) -> Markup {
        let name = &self.verb.name;
        let targets = targets(&shared.client).await;
        let wrong = match &self.state {
            FormState::Wrong(Wrong::Parameter(wrong)) => Some(wrong),
            _ => None,
        };
        let content = html! {
            p.lead { (self.verb.summary) }
            p {
                a href="/send" { "All verbs" } " · "
                a href={ "/send/" (name) "?example=true&target=" (utf8_percent_encode(&self.draft.target, NON_ALPHANUMERIC)) } { "Use the example" } " · "
                a href={ "/send/" (name) } { "Clear" }
            }
            (self.message())
            div.send {
                form.command method="post" action={ "/send/" (name) } {
                    input type="hidden" name="token" value=(viewer.form_token);
                    input type="hidden" name="nonce" value=(self.draft.nonce);
                    (self.target(&targets))
                    (form::parameters(self.fields, &self.draft.inputs, wrong))
                    (self.buttons())
                }
                div.equivalents { (self.equivalents(shared)) }
            }
            @if let FormState::Rehearsed { key, position } = &self.state {
                h2 #dry-run { "Dry run" }
                (run::live(key, position, &run::waiting(viewer, key)))
            }
        };
        page::frame(shared, viewer, "/send", name, &content)
    }

    fn target(&self, targets: &[String]) -> Markup {
        let is_wrong = matches!(self.state, FormState::Wrong(Wrong::Target));
        let only = targets.first().filter(|_| targets.len() == 1).map(String::as_str);
        let value = Some(self.draft.target.as_str()).filter(|target| !target.is_empty()).or(only).unwrap_or_default();
        html! {
            div.field {
                label for="target" { "Target" span.required { "required" } }
                input #target type="text" name="target" value=(value) list="targets" required maxlength="63" autocomplete="off"
                    spellcheck="false" aria-describedby="target-help" aria-invalid=[is_wrong.then_some("true")];
                datalist #targets { @for target in targets { option value=(target) {} } }
                small.about #target-help { "The cluster, by the name that the workers' configuration gives it." }
                @if is_wrong { p.invalid { "must be 1 to 63 of a-z, 0-9 and -, not - at an end" } }
            }
        }
    }

    fn buttons(&self) -> Markup {
        let has_dry_run = field::has_dry_run(self.verb.schema.as_value());
        let is_rehearsed = matches!(self.state, FormState::Rehearsed { .. });
        let params = field::params(self.fields, &self.draft.inputs).ok();
        let deletes = params.and_then(|params| (self.deletes)(&self.verb.name, &Value::Object(params)));
        let question = match (&deletes, has_dry_run && !is_rehearsed) {
            (Some(what), _) => Some(format!("This command deletes {what}. Send it?")),
            (None, true) => Some("Send this command without a dry run?".to_owned()),
            (None, false) => None,
        };
        html! {
            p.buttons {
                @if has_dry_run { button.primary[!is_rehearsed] type="submit" name="action" value="dry_run" { "Dry run" } }
                button.primary[is_rehearsed || !has_dry_run] type="submit" name="action" value="send" data-ask=[question] { "Send" }
                button type="submit" name="action" value="show" { "Show command" }
            }
        }
    }

    fn message(&self) -> Markup {
        match &self.state {
            FormState::Wrong(Wrong::Parameter(wrong)) => html! {
                p.problem role="alert" {
                    @if wrong.pointer.is_empty() { "The parameters are not valid: " (wrong.reason) }
                    @else { "Parameter " a href={ "#" (form::id(&wrong.pointer)) } { code { (wrong.pointer.trim_start_matches('/').replace('/', ".")) } } " " (wrong.reason) }
                }
            },
            FormState::Wrong(Wrong::Target) => html! { p.problem role="alert" { "The target is not valid." } },
            FormState::Wrong(Wrong::Command(error)) => html! { p.problem role="alert" { (error) } },
            FormState::Rehearsed { key, .. } => html! {
                p.notice role="status" { "Dry run sent: " a href={ "/runs/" (key) } { code.whole { (key.as_str().get(..8).unwrap_or_default()) } } ". " a href="#dry-run" { "Its report" } " is below. Send executes the command." }
            },
            FormState::Empty | FormState::Checked(_) => html! {},
        }
    }

    fn equivalents(&self, shared: &Shared) -> Markup {
        let FormState::Checked(checked) = &self.state else {
            return html! { p.quiet { "Show command displays the equivalent command line and CloudEvent here. It sends nothing." } };
        };
        let line = equivalent::command_line(&self.verb.name, &checked.target, &checked.draft.params);
        let event = serde_json::to_string_pretty(&checked.event).unwrap_or_default();
        let subject = shared.client.bus().subjects().command(&checked.target, &self.verb.name);
        html! {
            (copied("line", "Command line", &line))
            (copied("event", "CloudEvent", &event))
            p { "Publish it to the subject " code { (subject) } " with the header " code { "Nats-Msg-Id: " (checked.target) "." (checked.draft.key()) } "." }
        }
    }
}

/// A text with a button that copies it.
fn copied(id: &str, title: &str, text: &str) -> Markup {
    let end = text.floor_char_boundary(SHOWN);
    html! {
        section.card {
            h2 { (title) @if end == text.len() { " " button type="button" data-copy=(id) hidden { "Copy" } } }
            pre #(id) tabindex="0" { (text[..end]) @if end < text.len() { "\n… " (text.len() - end) " bytes more" } }
        }
    }
}

/// Targets that workers have; empty where they cannot be read.
async fn targets(client: &client::Client) -> Vec<String> {
    let cards = client.cards().await.ok().flatten().unwrap_or_default();
    cards.into_keys().collect()
}
