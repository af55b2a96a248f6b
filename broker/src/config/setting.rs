//! What one configuration key is: its type, default, allowed values and documentation, and how a text becomes a value.
//!
//! Used by the broker table and the topic table. Deliberately absent: where values come from (`load`), what they do.

use std::fmt;

/// The type of a key, as Kafka's ConfigDef names them (and DescribeConfigs reports them, KIP-569).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    String,
    Short,
    Int,
    Long,
    Double,
    List,
    Class,
}

impl Kind {
    /// Kafka's number for the type in DescribeConfigs replies (DescribeConfigsResponse.ConfigType).
    pub fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
        }
    }

    /// Kafka's name for the type (`ConfigDef.Type`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Short => "SHORT",
            Self::Int => "INT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Boolean => "true or false",
            Self::String => "a text",
            Self::Short => "a whole number of 16 bits",
            Self::Int => "a whole number of 32 bits",
            Self::Long => "a whole number of 64 bits",
            Self::Double => "a number",
            Self::List => "a comma-separated list",
            Self::Class => "the name of a class",
        }
    }
}

/// Which values a key takes beyond its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Allowed {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    /// Within the first two, or exactly the third.
    BetweenOr(i64, i64, i64),
    Ratio,
    OneOf(&'static [&'static str]),
    /// Every element of a list is one of these.
    EachOf(&'static [&'static str]),
    /// `*`, or a list of partition:broker.
    Throttled,
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::AtLeast(min) => write!(f, ", at least {min}"),
            Self::Between(min, max) => write!(f, " from {min} to {max}"),
            Self::BetweenOr(min, max, other) => write!(f, " from {min} to {max}, or {other}"),
            Self::Ratio => write!(f, " from 0 to 1"),
            Self::OneOf(names) => write!(f, ": one of {}", names.join(", ")),
            Self::EachOf(names) => write!(f, " of {}", names.join(", ")),
            Self::Throttled => write!(f, " of partition:broker, or *"),
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
    /// Whether it can be changed while the broker runs, for one broker or for all (KIP-226). A topic's keys always can.
    pub dynamic: bool,
    pub effect: Effect,
    pub doc: &'static str,
    /// Its name and a factor of 1: what gives it its value, where no coarser key does.
    pub(super) alone: (&'static str, i64),
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
    /// Checks a text of `server.properties` against type and allowed values.
    ///
    /// # Errors
    /// [`InvalidValue`] with the key, the value, what is allowed and the default as an example.
    pub fn check(&self, value: &str) -> Result<(), InvalidValue> {
        if self.accepts(value.trim()) { Ok(()) } else { Err(self.refuse(value)) }
    }

    /// What it takes, in words.
    pub fn takes(&self) -> String {
        format!("{}{}", self.kind.noun(), self.allowed)
    }

    /// The error for a value this key does not take.
    pub fn refuse(&self, value: &str) -> InvalidValue {
        let example = match self.default {
            Some(default) if !default.is_empty() => format!(" (for example {}={default})", self.name),
            _ => String::new(),
        };
        InvalidValue { key: self.name.to_owned(), value: value.to_owned(), expected: self.takes(), example }
    }

    fn accepts(&self, value: &str) -> bool {
        self.refusal(value).is_none()
    }

    /// Why Kafka refuses a value, in its words (`ConfigDef`); `None` when it takes it.
    pub fn refusal(&self, value: &str) -> Option<String> {
        let value = value.trim();
        let why = match self.kind {
            Kind::Boolean => match boolean(value) {
                Some(_) => None,
                None => Some("Expected value to be either true or false".to_owned()),
            },
            Kind::Short => self.refusal_of_number(value.parse::<i16>().ok().map(i64::from)),
            Kind::Int => self.refusal_of_number(value.parse::<i32>().ok().map(i64::from)),
            Kind::Long => self.refusal_of_number(value.parse::<i64>().ok()),
            Kind::Double => match value.parse::<f64>() {
                Ok(number) if self.allowed != Allowed::Ratio => number.is_nan().then(|| self.not_a_number()),
                Ok(number) if number > 1.0 => Some("Value must be no more than 1".to_owned()),
                Ok(number) if number < 0.0 => Some("Value must be at least 0".to_owned()),
                Ok(_) => None,
                Err(_) => Some(self.not_a_number()),
            },
            Kind::String | Kind::Class => match self.allowed {
                Allowed::OneOf(names) if !names.contains(&value) => Some(one_of(names)),
                _ => None,
            },
            Kind::List => return self.refusal_of_list(value),
        };
        why.map(|why| format!("Invalid value {} for configuration {}: {why}", self.shown(value), self.name))
    }

    fn refusal_of_number(&self, number: Option<i64>) -> Option<String> {
        let Some(number) = number else { return Some(self.not_a_number()) };
        match self.allowed {
            Allowed::AtLeast(min) | Allowed::Between(min, _) if number < min => {
                Some(format!("Value must be at least {min}"))
            }
            Allowed::Between(_, max) if number > max => Some(format!("Value must be no more than {max}")),
            Allowed::BetweenOr(min, max, other) if number != other && !(min..=max).contains(&number) => {
                Some(format!("Value must be between {min} and {max} or equal to {other}"))
            }
            _ => None,
        }
    }

    fn refusal_of_list(&self, value: &str) -> Option<String> {
        if value.is_empty() {
            return None;
        }
        let mut items = value.split(',').map(str::trim);
        match self.allowed {
            Allowed::EachOf(_) if items.clone().any(str::is_empty) => {
                Some(format!("Configuration '{}' values must not be empty.", self.name))
            }
            Allowed::EachOf(names) => items.find(|item| !names.contains(item)).map(|item| {
                format!("Invalid value {item} for configuration {}: {}", self.name, one_of(names))
            }),
            Allowed::Throttled if value != "*" && !items.clone().all(is_partition_and_broker) => {
                let (name, items) = (self.name, items.collect::<Vec<_>>().join(", "));
                Some(format!(
                    "Invalid value [{items}] for configuration {name}: {name} must be the literal '*' or a list of \
                     replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
                ))
            }
            _ => None,
        }
    }

    fn not_a_number(&self) -> String {
        format!("Not a number of type {}", self.kind.name())
    }

    /// A value as it is shown: numbers as Kafka prints them, lists without blanks.
    pub fn shown(&self, value: &str) -> String {
        let value = value.trim();
        match self.kind {
            Kind::Boolean => boolean(value).map_or_else(|| value.to_owned(), |flag| flag.to_string()),
            Kind::Short | Kind::Int | Kind::Long => {
                value.parse::<i64>().map_or_else(|_| value.to_owned(), |number| number.to_string())
            }
            // What was written with an exponent stays so.
            Kind::Double => match value.parse::<f64>() {
                Ok(number) if !value.contains(['e', 'E']) => format!("{number:?}"),
                _ => value.to_owned(),
            },
            Kind::List => value.split(',').map(str::trim).collect::<Vec<_>>().join(","),
            Kind::String | Kind::Class => value.to_owned(),
        }
    }
}

fn one_of(names: &[&str]) -> String {
    format!("String must be one of: {}", names.join(", "))
}

fn is_partition_and_broker(item: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    item.split_once(':').is_some_and(|(partition, broker)| digits(partition) && digits(broker))
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
