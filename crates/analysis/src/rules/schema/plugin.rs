//! Validates `WasmPlugin`, and `TrafficExtension`, which runs Wasm plugins or Lua. Source: `ValidateWasmPlugin`,
//! `ValidateTrafficExtension`.

use std::collections::BTreeSet;

use super::report::{At, IST0106, IST0133, Report};
use super::selector;
use crate::syntax::url::{self, Form};
use crate::{Check, Findings, Kind, Resource, Rule, View};

pub static WASM_PLUGIN: Rule = Rule {
    name: "schema.ValidationAnalyzer.WasmPlugin",
    codes: &[&IST0106, &IST0133],
    inputs: &[Kind::WasmPlugin],
    check: Check::Each(&[Kind::WasmPlugin], check_wasm_plugin),
};

pub static TRAFFIC_EXTENSION: Rule = Rule {
    name: "schema.ValidationAnalyzer.TrafficExtension",
    codes: &[&IST0106, &IST0133],
    inputs: &[Kind::TrafficExtension],
    check: Check::Each(&[Kind::TrafficExtension], check_traffic_extension),
};

fn check_wasm_plugin(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    let report = &mut Report::new(resource, findings);
    let spec = At::spec(resource);
    selector::check_targets(&spec, report);
    check_wasm(&spec, report);
    check_ports(&spec.key("match"), report);
}

fn check_traffic_extension(_: &View<'_>, resource: &Resource, findings: &mut Findings) {
    const LUA: usize = 64 * 1024;
    let report = &mut Report::new(resource, findings);
    let spec = At::spec(resource);
    let (wasm, lua) = (spec.key("wasm"), spec.key("lua"));
    // The CRD has a oneOf for the two, so both together never reach Istio; in JSON the last one wins.
    if wasm.is_null() && lua.is_null() {
        report.error(&spec, "one of wasm and lua is required");
    }
    selector::check_targets(&spec, report);
    if lua.is_set() {
        let code = lua.key("inlineCode");
        if code.is_empty() {
            report.error(&lua, "inlineCode is required");
        } else if code.text().len() > LUA {
            report.error(&code, "must be at most 64 KiB");
        }
    }
    if wasm.is_set() {
        check_wasm(&wasm, report);
    }
    check_ports(&spec.key("match"), report);
}

fn check_wasm(plugin: &At<'_, '_>, report: &mut Report<'_>) {
    let from = plugin.key("url");
    if from.is_empty() {
        report.error(&from, "a url is required");
    } else {
        report.check(&from, check_url(from.text()));
    }
    let sum = plugin.key("sha256");
    if !sum.is_empty()
        && (sum.text().len() != 64 || !sum.text().bytes().all(|b| matches!(b, b'a'..=b'f' | b'0'..=b'9')))
    {
        report.error(&sum, "must be 64 lowercase hexadecimal digits");
    }
    for (key, most) in [("imagePullSecret", 253), ("pluginName", 256)] {
        if plugin.get(key).text().len() > most {
            report.error(&plugin.key(key), format_args!("must be at most {most} characters"));
        }
    }
    let settings = plugin.key("vmConfig");
    let mut names = BTreeSet::new();
    for variable in settings.key("env").each() {
        let name = variable.node()["name"].text();
        if name.is_empty() || name.len() > 256 {
            report.error(&variable, "a name of at most 256 characters is required");
        } else if !names.insert(name) {
            report.error(&variable, format_args!("duplicate name {name:?}"));
        }
        if variable.get("valueFrom").text() == "HOST" && variable.has("value") {
            report.error(
                &variable.key("value"),
                "must not be set with valueFrom: HOST, which reads the proxy's \
                                                  environment",
            );
        }
    }
}

/// A URL, or an image reference without a scheme.
fn check_url(text: &str) -> Result<(), String> {
    let scheme = url::scheme(text, Form::Absolute).and_then(|scheme| url::scheme(text, Form::Any).map(|_| scheme));
    let scheme = match scheme {
        Ok(scheme) => scheme,
        Err(why) => {
            let prefixed = format!("http://{text}");
            let read = url::scheme(&prefixed, Form::Absolute)
                .and_then(|scheme| url::scheme(&prefixed, Form::Any).map(|_| scheme));
            read.map_err(|_| format!("{text:?} is not a valid URL: {why}"))?
        }
    };
    if matches!(scheme.as_str(), "" | "file" | "http" | "https" | "oci") {
        Ok(())
    } else {
        Err(format!("scheme {scheme} is not supported; use file, http, https or oci"))
    }
}

fn check_ports(selectors: &At<'_, '_>, report: &mut Report<'_>) {
    for selector in selectors.each() {
        if selector.is_null() {
            report.error(&selector, "a match must not be null");
        }
        for port in selector.key("ports").each() {
            report.port(&port.key("number"));
        }
    }
}
