//! The form of a verb.

use maud::{Markup, html};
use serde_json::Value;

use super::field::{Field, Inputs, Kind, Unreadable};

/// Rows of an input of several lines, at least and at most.
const ROWS: (usize, usize) = (3, 24);

/// The inputs of all parameters.
pub(super) fn parameters(fields: &[Field<'_>], inputs: &Inputs, error: Option<&Unreadable>) -> Markup {
    let form = Form { inputs, error };
    let (required, other): (Vec<_>, Vec<_>) = fields.iter().partition(|field| field.is_required);
    // A verb without required parameters needs most often one of the others.
    let is_open = required.is_empty() || other.iter().any(|field| form.is_set(field));
    html! {
        @for field in &required { (form.field(field)) }
        @if !other.is_empty() {
            details.more open[is_open] {
                summary { (if required.is_empty() { "Parameters" } else { "Optional parameters" }) " (" (other.len()) ")" }
                @for field in &other { (form.field(field)) }
            }
        }
        @if fields.is_empty() { p.quiet { "This verb has no parameters." } }
    }
}

struct Form<'a> {
    inputs: &'a Inputs,
    error: Option<&'a Unreadable>,
}

impl Form<'_> {
    fn texts(&self, field: &Field<'_>) -> &[String] {
        self.inputs.get(&field.pointer).map(Vec::as_slice).unwrap_or_default()
    }

    fn text(&self, field: &Field<'_>) -> &str {
        self.texts(field).first().map(String::as_str).unwrap_or_default()
    }

    /// Whether it differs from the default.
    fn is_set(&self, field: &Field<'_>) -> bool {
        match &field.kind {
            Kind::Group(inner) => inner.iter().any(|field| self.is_set(field)),
            Kind::Bool => self.text(field).is_empty() == field.defaults_to_true(),
            _ => !self.text(field).is_empty(),
        }
    }

    /// The error of this field or of a value inside it.
    fn error(&self, field: &Field<'_>) -> Option<&str> {
        let inside = |pointer: &str| {
            let rest = pointer.strip_prefix(field.pointer.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.error.filter(|error| inside(&error.pointer)).map(|error| error.reason.as_str())
    }

    fn field(&self, field: &Field<'_>) -> Markup {
        let id = id(&field.pointer);
        let (help, wrong) = (format!("{id}-help"), format!("{id}-error"));
        let error = self.error(field);
        if let Kind::Group(inner) = &field.kind {
            let content = html! {
                (about(field, &help))
                @for field in inner { (self.field(field)) }
            };
            return html! {
                @if field.is_required {
                    fieldset #(id) { legend { code { (field.name) } span.required { "required" } } (content) }
                } @else {
                    details.group #(id) open[self.is_set(field)] { summary { code { (field.name) } } (content) }
                }
            };
        }
        if let Kind::Choices(words) = &field.kind {
            return html! {
                fieldset.field #(id) aria-describedby=(help) {
                    legend { code { (field.name) } @if field.is_required { span.required { "required" } } }
                    (about(field, &help))
                    @for (word, about) in words {
                        label.check {
                            input type="checkbox" name=(name(field)) value=(word) checked[self.texts(field).iter().any(|text| text == word)];
                            " " code { (word) } " " small { (about) }
                        }
                    }
                    @if let Some(error) = error { p.invalid #(wrong) { (error) } }
                }
            };
        }
        let described = if error.is_some() { format!("{help} {wrong}") } else { help.clone() };
        html! {
            div.field {
                @if matches!(field.kind, Kind::Bool) {
                    label.check for=(id) {
                        input #(id) type="checkbox" name=(name(field)) value="true" checked[!self.text(field).is_empty()] aria-describedby=(described);
                        " " code { (field.name) }
                    }
                } @else {
                    label for=(id) { code { (field.name) } @if field.is_required { span.required { "required" } } }
                    (self.input(field, &id, &described, error.is_some()))
                }
                (about(field, &help))
                @if let Some(error) = error { p.invalid #(wrong) { (error) } }
            }
        }
    }

    fn input(&self, field: &Field<'_>, id: &str, described: &str, is_invalid: bool) -> Markup {
        let text = self.text(field);
        let invalid = is_invalid.then_some("true");
        let default = default(field);
        match &field.kind {
            Kind::OptionalBool => html! {
                select #(id) name=(name(field)) aria-describedby=(described) {
                    @for (value, shown) in [("", "not set"), ("true", "true"), ("false", "false")] {
                        option value=(value) selected[text == value] { (shown) }
                    }
                }
            },
            Kind::Choice(words) => html! {
                select #(id) name=(name(field)) required[field.is_required] aria-describedby=(described) aria-invalid=[invalid] {
                    option value="" { @if default.is_empty() { "–" } @else { "default: " (default) } }
                    @for (word, about) in words {
                        option value=(word) selected[text == *word] { (word) @if !about.is_empty() { " – " (about) } }
                    }
                }
            },
            Kind::Number { whole, least, most } => html! {
                input #(id) type="number" name=(name(field)) value=(text) required[field.is_required] placeholder=(default)
                    min=[least.map(Value::to_string)] max=[most.map(Value::to_string)] step=(if *whole { "1" } else { "any" })
                    aria-describedby=(described) aria-invalid=[invalid];
            },
            Kind::Line { most } => html! {
                input #(id) type="text" name=(name(field)) value=(text) required[field.is_required] placeholder=(default)
                    maxlength=[*most] autocomplete="off" spellcheck="false" aria-describedby=(described) aria-invalid=[invalid];
            },
            _ => html! {
                textarea #(id) name=(name(field)) rows=(rows(field, text)) required[field.is_required]
                    placeholder=(match field.kind { Kind::Lines => "one on each line", Kind::Text => "", _ => "JSON or YAML" })
                    autocomplete="off" spellcheck="false" aria-describedby=(described) aria-invalid=[invalid] { "\n" (text) }
            },
        }
    }
}

fn about(field: &Field<'_>, id: &str) -> Markup {
    html! { small.about #(id) { (prose(field.about)) } }
}

/// Text with names in backticks, as descriptions of schemas have them.
fn prose(text: &str) -> Markup {
    html! { @for (at, part) in text.split('`').enumerate() { @if at % 2 == 1 { code { (part) } } @else { (part) } } }
}

fn default(field: &Field<'_>) -> String {
    match field.default {
        Some(Value::String(text)) => text.clone(),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
        _ => String::new(),
    }
}

fn rows(field: &Field<'_>, text: &str) -> usize {
    let least = if matches!(field.kind, Kind::Text) { 8 } else { ROWS.0 };
    text.lines().count().clamp(least, ROWS.1)
}

/// Name of the input.
pub(super) fn name(field: &Field<'_>) -> String {
    format!("p{}", field.pointer)
}

/// Id of the input, of letters that ids and fragments permit.
pub(super) fn id(pointer: &str) -> String {
    format!("p{}", pointer.replace('/', "-"))
}
