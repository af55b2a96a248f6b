//! A reply as a tree of named values, read from the `Debug` text of the protocol crate's structures.
//!
//! Called by `decode`. That text has every field by its name in every version, for every API, without a table of
//! responses of our own. Deliberately absent: what fields mean (see `records` and `compare`).

use std::fmt;

use anyhow::{Context, Result, bail};

/// A value of a reply.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tree {
    /// A null.
    Null,
    /// A number, a boolean or a uuid, as it is printed.
    Atom(String),
    /// A string.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An array.
    List(Vec<Tree>),
    /// A structure: its fields in the order of their declaration.
    Fields(Vec<(String, Tree)>),
}

impl Tree {
    /// Reads the `Debug` text of a value.
    ///
    /// # Errors
    /// A text that no derived `Debug` writes.
    pub fn of_debug(value: &impl fmt::Debug) -> Result<Self> {
        let text = format!("{value:?}");
        let mut parser = Parser { rest: &text };
        let tree = parser.value().with_context(|| format!("cannot read {text}"))?;
        if !parser.rest.is_empty() {
            bail!("{:?} is left of {text}", parser.rest);
        }
        Ok(tree)
    }

    /// The field of a structure.
    pub fn field(&self, name: &str) -> Option<&Tree> {
        match self {
            Tree::Fields(fields) => fields.iter().find(|(field, _)| field == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Puts one text in the place of another, wherever it is a whole value.
    pub fn replace_text(&mut self, from: &str, to: &str) {
        match self {
            Tree::Text(text) if text == from => *text = to.to_owned(),
            Tree::List(values) => values.iter_mut().for_each(|value| value.replace_text(from, to)),
            Tree::Fields(fields) => fields.iter_mut().for_each(|(_, value)| value.replace_text(from, to)),
            _ => {}
        }
    }

    /// The value as the text that paths and patterns see.
    pub fn plain(&self) -> String {
        match self {
            Tree::Null => "null".to_owned(),
            Tree::Atom(text) | Tree::Text(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tree::Null => f.write_str("null"),
            Tree::Atom(text) => f.write_str(text),
            Tree::Text(text) => write!(f, "{text:?}"),
            Tree::Bytes(bytes) => {
                f.write_str("0x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Tree::List(values) => {
                f.write_str("[")?;
                for (place, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if place > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Tree::Fields(fields) => {
                f.write_str("{")?;
                for (place, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}: {value}", if place > 0 { ", " } else { "" })?;
                }
                f.write_str("}")
            }
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn must(&mut self, token: &str) -> Result<()> {
        if !self.take(token) {
            bail!("{token:?} is missing before {:?}", self.rest.chars().take(40).collect::<String>());
        }
        Ok(())
    }

    /// Everything up to the first character that ends a name or a number.
    fn word(&mut self) -> Result<String> {
        let end =
            self.rest.find([' ', ',', ':', '(', ')', '[', ']', '{', '}', '"']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            bail!("a name or a number is missing before {:?}", rest.chars().take(40).collect::<String>());
        }
        self.rest = rest;
        Ok(word.to_owned())
    }

    fn value(&mut self) -> Result<Tree> {
        if self.take("b\"") {
            return self.bytes();
        }
        if self.take("\"") {
            return self.text();
        }
        if self.take("[") {
            return Ok(Tree::List(self.separated("]", Self::value)?));
        }
        if self.take("{") {
            let pairs = self.separated("}", |parser| {
                let key = parser.value()?.plain();
                parser.must(": ")?;
                Ok((key, parser.value()?))
            })?;
            return Ok(Tree::Fields(pairs));
        }
        let word = self.word()?;
        if self.take("(") {
            // `Some(x)` and newtypes are what they hold.
            let inner = self.value()?;
            self.must(")")?;
            return Ok(inner);
        }
        if self.take(" { ") {
            let fields = self.separated(" }", |parser| {
                let name = parser.word()?;
                parser.must(": ")?;
                Ok((name, parser.value()?))
            })?;
            return Ok(Tree::Fields(fields));
        }
        Ok(if word == "None" { Tree::Null } else { Tree::Atom(word) })
    }

    fn separated<T>(&mut self, end: &str, mut one: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut values = Vec::new();
        while !self.take(end) {
            if !values.is_empty() {
                self.must(", ")?;
            }
            values.push(one(self)?);
        }
        Ok(values)
    }

    fn text(&mut self) -> Result<Tree> {
        let mut text = String::new();
        loop {
            match self.next_char()? {
                '"' => return Ok(Tree::Text(text)),
                '\\' => match self.next_char()? {
                    'n' => text.push('\n'),
                    'r' => text.push('\r'),
                    't' => text.push('\t'),
                    '0' => text.push('\0'),
                    'u' => {
                        self.must("{")?;
                        let digits = self.word()?;
                        self.must("}")?;
                        text.extend(char::from_u32(u32::from_str_radix(&digits, 16)?));
                    }
                    other => text.push(other),
                },
                other => text.push(other),
            }
        }
    }

    fn bytes(&mut self) -> Result<Tree> {
        let mut bytes = Vec::new();
        loop {
            match self.next_char()? {
                '"' => return Ok(Tree::Bytes(bytes)),
                '\\' => match self.next_char()? {
                    'n' => bytes.push(b'\n'),
                    'r' => bytes.push(b'\r'),
                    't' => bytes.push(b'\t'),
                    '0' => bytes.push(0),
                    'x' => {
                        let digits = [self.next_char()?, self.next_char()?];
                        bytes.push(u8::from_str_radix(&digits.iter().collect::<String>(), 16)?);
                    }
                    other => bytes.push(other as u8),
                },
                other => bytes.push(other as u8),
            }
        }
    }

    fn next_char(&mut self) -> Result<char> {
        let mut chars = self.rest.chars();
        let next = chars.next().context("it ends inside a string")?;
        self.rest = chars.as_str();
        Ok(next)
    }
}

#[cfg(test)]
mod tests;
