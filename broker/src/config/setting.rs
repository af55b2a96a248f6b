//! What one configuration key is: its type, default, allowed values and documentation, and how a text becomes a value.
//!
//! Used by the broker table and the topic table. Deliberately absent: where values come from (`load`), what they do.

use std::fmt;

/// The type of a key, as Kafka's ConfigDef names them (and DescribeConfigs reports them, KIP-569).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    String,
    Int,
    Long,
    Double,
    List,
}

impl Kind {
    /// Kafka's number for the type in DescribeConfigs replies (DescribeConfigsResponse.ConfigType).
    pub fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Boolean => "true or false",
            Self::String => "a text",
            Self::Int => "a whole number of 32 bits",
            Self::Long => "a whole number of 64 bits",
            Self::Double => "a number",
            Self::List => "a comma-separated list",
        }
    }
}

/// Which values a key takes beyond its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Allowed {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    Ratio,
    OneOf(&'static [&'static str]),
    /// Every element of a list is one of these, and there is at least one.
    EachOf(&'static [&'static str]),
    /// Every element of a list is one of these, and none is there twice; the list may be empty.
    SetOf(&'static [&'static str]),
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::AtLeast(min) => write!(f, ", at least {min}"),
            Self::Between(min, max) => write!(f, " from {min} to {max}"),
            Self::Ratio => write!(f, " from 0 to 1"),
            Self::OneOf(names) => write!(f, ": one of {}", names.join(", ")),
            Self::EachOf(names) => write!(f, " of {}", names.join(", ")),
            Self::SetOf(names) => write!(f, " of {}, each at most once, or nothing", names.join(", ")),
        }
    }
}

/// Whether Corelog acts on a key today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The key does what its documentation says.
    Acts,
    /// The key is Kafka's, is accepted and shown, and does nothing yet.
    NotYet,
}

/// One key of a table.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The key, as Kafka writes it (`corelog.` for ours).
    pub name: &'static str,
    pub kind: Kind,
    /// The default as text; `None` where Kafka's default is null.
    pub default: Option<&'static str>,
    pub allowed: Allowed,
    pub effect: Effect,
    pub doc: &'static str,
}

/// A value that a key does not take: says key, value, what is allowed and an example.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}={value}: expected {expected}{example}")]
pub struct InvalidValue {
    pub key: String,
    pub value: String,
    pub expected: String,
    /// Empty, or ` (for example key=value)`.
    pub example: String,
}

impl Setting {
    /// Checks a text against type and allowed values.
    ///
    /// # Errors
    /// [`InvalidValue`] with the key, the value, what is allowed and the default as an example.
    pub fn check(&self, value: &str) -> Result<(), InvalidValue> {
        if self.accepts(value.trim()) { Ok(()) } else { Err(self.refuse(value)) }
    }

    /// The error for a value this key does not take.
    pub fn refuse(&self, value: &str) -> InvalidValue {
        let example = match self.default {
            Some(default) if !default.is_empty() => format!(" (for example {}={default})", self.name),
            _ => String::new(),
        };
        InvalidValue {
            key: self.name.to_owned(),
            value: value.to_owned(),
            expected: format!("{}{}", self.kind.noun(), self.allowed),
            example,
        }
    }

    fn accepts(&self, value: &str) -> bool {
        let in_range = |number: i64| match self.allowed {
            Allowed::AtLeast(min) => number >= min,
            Allowed::Between(min, max) => (min..=max).contains(&number),
            _ => true,
        };
        match self.kind {
            Kind::Boolean => boolean(value).is_some(),
            Kind::Int => value.parse::<i32>().is_ok_and(|n| in_range(i64::from(n))),
            Kind::Long => value.parse::<i64>().is_ok_and(in_range),
            Kind::Double => value
                .parse::<f64>()
                .is_ok_and(|n| n.is_finite() && (self.allowed != Allowed::Ratio || (0.0..=1.0).contains(&n))),
            Kind::String => match self.allowed {
                Allowed::OneOf(names) => names.contains(&value),
                _ => true,
            },
            Kind::List => match self.allowed {
                Allowed::EachOf(names) => !value.is_empty() && list(value).all(|item| names.contains(&item)),
                Allowed::SetOf(names) => {
                    let items: Vec<&str> = list(value).collect();
                    let twice = items.iter().enumerate().any(|(at, item)| items[..at].contains(item));
                    !twice && items.iter().all(|item| names.contains(item))
                }
                _ => true,
            },
        }
    }
}

/// Kafka's booleans: `true` and `false` in any case.
pub fn boolean(value: &str) -> Option<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// The elements of a comma-separated list, without blanks around them and without empty ones.
pub fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}
