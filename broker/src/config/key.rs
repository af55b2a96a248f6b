//! How a row of the tables is written: type and name first, then what is allowed, how it changes, effect and documentation.
//!
//! `key::int("num.partitions", Some("1")).at_least(1).acts("…")`. Used by the tables only, in constants.

use super::setting::{Allowed, Effect, Kind, Setting};

const fn key(name: &'static str, kind: Kind, default: Option<&'static str>) -> Setting {
    let (allowed, effect) = (Allowed::Any, Effect::NotYet);
    Setting { name, kind, default, allowed, dynamic: false, effect, doc: "", alone: (name, 1) }
}

pub(super) const fn boolean(name: &'static str, default: Option<&'static str>) -> Setting {
    key(name, Kind::Boolean, default)
}

pub(super) const fn string(name: &'static str, default: Option<&'static str>) -> Setting {
    key(name, Kind::String, default)
}

pub(super) const fn class(name: &'static str, default: Option<&'static str>) -> Setting {
    key(name, Kind::Class, default)
}

pub(super) const fn short(name: &'static str, default: Option<&'static str>) -> Setting {
    key(name, Kind::Short, default)
}

pub(super) const fn int(name: &'static str, default: Option<&'static str>) -> Setting {
    key(name, Kind::Int, default)
}

pub(super) const fn long(name: &'static str, default: Option<&'static str>) -> Setting {
    key(name, Kind::Long, default)
}

pub(super) const fn double(name: &'static str, default: Option<&'static str>) -> Setting {
    key(name, Kind::Double, default)
}

pub(super) const fn list(name: &'static str, default: Option<&'static str>) -> Setting {
    key(name, Kind::List, default)
}

impl Setting {
    pub(super) const fn at_least(mut self, min: i64) -> Self {
        self.allowed = Allowed::AtLeast(min);
        self
    }

    pub(super) const fn between(mut self, min: i64, max: i64) -> Self {
        self.allowed = Allowed::Between(min, max);
        self
    }

    pub(super) const fn between_or(mut self, min: i64, max: i64, other: i64) -> Self {
        self.allowed = Allowed::BetweenOr(min, max, other);
        self
    }

    pub(super) const fn ratio(mut self) -> Self {
        self.allowed = Allowed::Ratio;
        self
    }

    pub(super) const fn one_of(mut self, names: &'static [&'static str]) -> Self {
        self.allowed = Allowed::OneOf(names);
        self
    }

    pub(super) const fn each_of(mut self, names: &'static [&'static str]) -> Self {
        self.allowed = Allowed::EachOf(names);
        self
    }

    pub(super) const fn throttled(mut self) -> Self {
        self.allowed = Allowed::Throttled;
        self
    }

    /// Can be changed while the broker runs, for one broker or for all.
    pub(super) const fn dynamic(mut self) -> Self {
        self.dynamic = true;
        self
    }

    /// The last word: Corelog does what the documentation says.
    pub(super) const fn acts(mut self, doc: &'static str) -> Self {
        self.effect = Effect::Acts;
        self.doc = doc;
        self
    }

    /// The last word: accepted and shown, and without effect so far.
    pub(super) const fn not_yet(mut self, doc: &'static str) -> Self {
        self.effect = Effect::NotYet;
        self.doc = doc;
        self
    }
}
