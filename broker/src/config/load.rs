//! Reads `server.properties` and the command line's overrides into checked texts, one per known key.
//!
//! A bad value is an error; an unknown key is a warning that names the nearest known one. What the values mean
//! together is decided in `broker_config.rs`.

use std::collections::BTreeMap;
use std::path::Path;

use super::broker_settings::{broker_setting, broker_settings};
use super::setting::InvalidValue;

/// Why a configuration does not start a broker. Every text names key, value, what is allowed and a way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "cannot read the configuration file {path}: {cause}; name one that can be read, or none for the defaults"
    )]
    Unreadable { path: String, cause: String },
    #[error("{path}: {cause}")]
    Malformed { path: String, cause: String },
    #[error("--override {0}: expected key=value, for example --override num.partitions=4")]
    Override(String),
    #[error(transparent)]
    Invalid(#[from] InvalidValue),
    #[error("{key}={value}: {why}")]
    Contradiction { key: &'static str, value: String, why: String },
}

/// Checked values by key; what was not given is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    values: BTreeMap<&'static str, String>,
}

impl Given {
    /// The value given for a key, if any.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value given for a key, or its default. `None` where neither exists.
    pub fn effective(&self, name: &str) -> Option<&str> {
        self.get(name).or_else(|| broker_setting(name).and_then(|setting| setting.default))
    }

    /// Sets a key after checking it.
    ///
    /// # Errors
    /// [`InvalidValue`] for a value the key does not take. Returns the warning for an unknown key.
    pub fn set(&mut self, key: &str, value: &str) -> Result<Option<String>, InvalidValue> {
        match broker_setting(key) {
            Some(setting) => {
                setting.check(value)?;
                self.values.insert(setting.name, value.trim().to_owned());
                Ok(None)
            }
            None => Ok(Some(unknown_key(key))),
        }
    }
}

/// What a file and overrides gave, and the warnings on the way.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    pub given: Given,
    pub warnings: Vec<String>,
}

/// Reads the file, if any, then applies the overrides (`key=value`) in order.
///
/// # Errors
/// [`ConfigError`]: an unreadable file, a malformed line, a bad value.
pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Loaded, ConfigError> {
    let mut loaded = Loaded::default();
    if let Some(path) = file {
        for (key, value) in read_properties(path)? {
            loaded.warnings.extend(loaded.given.set(&key, &value)?);
        }
    }
    for text in overrides {
        let (key, value) = text.split_once('=').ok_or_else(|| ConfigError::Override(text.clone()))?;
        loaded.warnings.extend(loaded.given.set(key.trim(), value)?);
    }
    Ok(loaded)
}

fn read_properties(path: &Path) -> Result<Vec<(String, String)>, ConfigError> {
    let shown = path.display().to_string();
    let text = std::fs::read(path)
        .map_err(|error| ConfigError::Unreadable { path: shown.clone(), cause: error.to_string() })?;
    parse_properties(&text).map_err(|cause| ConfigError::Malformed { path: shown, cause })
}

/// Keys and values of a properties file, in order.
///
/// # Errors
/// What is wrong, and in which line.
pub fn parse_properties(text: &[u8]) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    java_properties::PropertiesIter::new(text)
        .read_into(|key, value| pairs.push((key, value)))
        .map_err(|error| error.to_string())?;
    Ok(pairs)
}

fn unknown_key(key: &str) -> String {
    // Texts of which one is far longer are not alike, and a key may be as long as its file.
    let lengths = key.len() * 3 / 5..=key.len().saturating_mul(5) / 3;
    let nearest = broker_settings()
        .filter(|setting| lengths.contains(&setting.name.len()))
        .map(|setting| (strsim::normalized_damerau_levenshtein(key, setting.name), setting.name))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, name)) if likeness >= 0.6 => {
            format!("unknown configuration key {key} is ignored; did you mean {name}?")
        }
        _ => format!("unknown configuration key {key} is ignored"),
    }
}
