//! Puts the layers together, and knows afterwards which layer each value came from.

#![allow(clippy::disallowed_methods, reason = "this is the one reader of the environment that the lint points to")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::error::{Actual, Kind};
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};
use serde::{Deserialize, Deserializer, Serializer};

use super::{Config, Error};

const PREFIX: &str = "SAILHAND__";
const DEFAULT: &str = "default";

/// A value given by a flag.
#[derive(Debug, Clone)]
pub struct Override {
    /// The key it sets, such as `worker.slots`.
    pub key: &'static str,
    /// The flag as written, such as `--slots`.
    pub flag: &'static str,
    /// The value.
    pub value: Value,
}

impl Override {
    /// A flag's value, where the flag was given.
    pub fn new(key: &'static str, flag: &'static str, value: Option<impl Into<Value>>) -> Option<Self> {
        value.map(|value| Self { key, flag, value: value.into() })
    }
}

impl Provider for Override {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.flag)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Serialized::default(self.key, &self.value).data()
    }
}

/// A configuration, and where its values came from.
#[derive(Debug)]
pub struct Loaded {
    /// Valid.
    pub config: Config,
    layers: Figment,
}

/// Where fault tests say what happens at which step.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn failpoint_folder() -> Option<PathBuf> {
    std::env::var_os("SAILHAND_FAILPOINTS").map(PathBuf::from)
}

/// Reads defaults, then `file` (without one: the system's and the user's, where they exist), then the environment,
/// then flags.
///
/// # Errors
/// The first key that is unknown or has a value that cannot be, or a file that cannot be read.
pub fn load(file: Option<&Path>, overrides: Vec<Override>) -> Result<Loaded, Error> {
    let mut layers = Figment::from(Serialized::defaults(Config::default()));
    for path in file.map_or_else(usual_files, |file| vec![file.to_owned()]) {
        // Read here, because the library takes a file that is missing for an empty one.
        std::fs::File::open(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        layers = layers.merge(Toml::file_exact(path));
    }
    layers = layers.merge(Env::prefixed(PREFIX).split("__"));
    for value in overrides {
        layers = layers.merge(value);
    }
    let config: Config = layers.extract().map_err(|error| invalid(&layers, &error))?;
    super::validate::validate(&config).map_err(|(key, reason)| Error::Key {
        origin: origin(&layers, &key),
        key,
        reason,
    })?;
    Ok(Loaded { config, layers })
}

fn usual_files() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".config"));
    let user = std::env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from).or(home);
    let dirs = [Some(PathBuf::from("/etc")), user];
    dirs.into_iter().flatten().map(|dir| dir.join("sailhand/config.toml")).filter(|file| file.is_file()).collect()
}

/// The kubeconfig that `kubectl` would read first: `$KUBECONFIG`, else `~/.kube/config`. Only for `sailhand dev`; a
/// worker's targets name theirs.
#[must_use]
pub fn usual_kubeconfig() -> Option<PathBuf> {
    let named = std::env::var_os("KUBECONFIG").and_then(|files| std::env::split_paths(&files).next());
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".kube/config"));
    named.filter(|file| !file.as_os_str().is_empty()).or(home)
}

/// The file of a program: a path as it is, a name as `PATH` finds it.
#[must_use]
pub fn find_program(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return Some(program.to_owned()).filter(|file| file.is_file());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn invalid(layers: &Figment, error: &figment::Error) -> Error {
    let mut path = error.path.clone();
    let reason = match &error.kind {
        Kind::UnknownField(field, known) => {
            if path.last() != Some(field) {
                path.push(field.clone());
            }
            format!("unknown key; known here: {}", known.join(", "))
        }
        Kind::InvalidType(found, wanted) | Kind::InvalidValue(found, wanted) => mistyped(found, wanted),
        kind => kind.to_string(),
    };
    let key = path.join(".");
    let known = error.metadata.as_ref().map(|metadata| describe(metadata, &key));
    let origin = layers.find_metadata(&key).map(|metadata| describe(metadata, &key)).or(known);
    Error::Key {
        key: if key.is_empty() { "configuration".to_owned() } else { key },
        origin: origin.unwrap_or_else(|| DEFAULT.to_owned()),
        reason,
    }
}

/// A value of another type, without the names of Rust's types.
fn mistyped(found: &Actual, wanted: &str) -> String {
    let wanted = match wanted {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "bool" | "a boolean" => "true or false",
        other => other,
    };
    // Such as: signed int `-1`.
    let found = found.to_string();
    let value = found.split_once('`').map_or(found.as_str(), |(_, value)| value.trim_end_matches('`'));
    format!("{value} is not {wanted}")
}

fn origin(layers: &Figment, key: &str) -> String {
    layers.find_metadata(key).map_or_else(|| DEFAULT.to_owned(), |metadata| describe(metadata, key))
}

fn describe(metadata: &Metadata, key: &str) -> String {
    match &metadata.source {
        Some(Source::File(path)) => path.display().to_string(),
        _ if metadata.name.starts_with("--") => metadata.name.to_string(),
        _ if metadata.name.contains("environment") => {
            format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
        }
        _ => DEFAULT.to_owned(),
    }
}

impl Loaded {
    /// Every value by its key and where it came from, in the order of the sections. It holds no secrets: the
    /// configuration only names files.
    ///
    /// # Errors
    /// When a value has no JSON form, which the types do not allow.
    pub fn values(&self) -> Result<Vec<(String, serde_json::Value, String)>, serde_json::Error> {
        let mut values = Vec::new();
        flatten(String::new(), serde_json::to_value(&self.config)?, &mut values);
        Ok(values
            .into_iter()
            .map(|(key, value)| {
                let origin = origin(&self.layers, &key);
                (key, value, origin)
            })
            .collect())
    }
}

fn flatten(path: String, value: serde_json::Value, into: &mut Vec<(String, serde_json::Value)>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                flatten(if path.is_empty() { name } else { format!("{path}.{name}") }, value, into);
            }
        }
        value => into.push((path, value)),
    }
}

/// A list, or one string whose commas part items: what an environment variable can hold.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a string or a list of strings is wanted")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(text) => text.split(',').map(|item| item.trim().to_owned()).collect(),
        OneOrMany::Many(items) => items,
    })
}

const OFF: &str = "off";

/// TOML cannot say "nothing", so a word does.
pub(super) fn address_or_off<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == OFF {
        return Ok(None);
    }
    let wanted = |_| serde::de::Error::custom(format!("{text:?} is neither address:port nor \"off\""));
    text.parse().map(Some).map_err(wanted)
}

#[allow(clippy::ref_option, reason = "the signature that serde requires")]
pub(super) fn write_address_or_off<S: Serializer>(
    address: &Option<SocketAddr>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match address {
        Some(address) => serializer.collect_str(address),
        None => serializer.serialize_str(OFF),
    }
}
