//! Regular expressions of subscriptions: RE2's syntax, as Kafka's brokers take it (RE2/J), compiled by the `regex` crate.
//!
//! Both match in time linear in the topic's name. Where the two read the same letters differently, the expression is translated: classes, where the crate knows
//! set operations and nesting and RE2 does not; `\Q…\E`; octal escapes; braces that are no repetition. What RE2 refuses is refused, also where
//! the crate would take it. Topic names are ASCII, so that classes of letters beyond make no difference. Deliberately absent: who is subscribed.

use regex::{Regex, RegexBuilder};

/// The largest program that an expression may compile to, in bytes; RE2 counts instructions instead.
const PROGRAM_BYTES_MAX: usize = 1 << 20;
/// The largest count in a repetition, as in RE2.
const REPEAT_MAX: u32 = 1000;
/// How deep groups may be nested, as in RE2/J.
const DEPTH_MAX: u32 = 1000;

/// The classes that brackets know by name.
const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// A compiled expression, which matches whole names of topics.
#[derive(Debug, Clone)]
pub struct TopicPattern(Regex);

impl TopicPattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// Why it cannot be taken.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let translated = Translator::new(pattern).translate()?;
        let compiled = RegexBuilder::new(&format!(r"\A(?:{translated})\z"))
            .size_limit(PROGRAM_BYTES_MAX)
            .dfa_size_limit(PROGRAM_BYTES_MAX)
            .nest_limit(DEPTH_MAX)
            .build();
        match compiled {
            Ok(regex) => Ok(Self(regex)),
            Err(regex::Error::CompiledTooBig(limit)) => {
                Err(format!("expression too large: its program exceeds {limit} bytes"))
            }
            // The crate prints the expression over several lines, with its reason in the last one.
            Err(error) => {
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default();
                Err(reason.trim_start_matches("error: ").to_owned())
            }
        }
    }

    /// Whether the whole name matches.
    pub fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic)
    }
}

/// Walks an expression once, copying it with what must be different.
struct Translator<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    out: String,
    /// How many groups are open.
    depth: usize,
    /// Whether a repetition may come next.
    repeatable: bool,
    /// Whether the last thing was a repetition: RE2 takes no other behind it but `?`.
    repeated: bool,
}

impl<'a> Translator<'a> {
    fn new(pattern: &'a str) -> Self {
        Self {
            rest: pattern.chars().peekable(),
            out: String::with_capacity(pattern.len() + 8),
            depth: 0,
            repeatable: false,
            repeated: false,
        }
    }

    fn translate(mut self) -> Result<String, String> {
        while let Some(letter) = self.rest.next() {
            match letter {
                '\\' => self.escape()?,
                '[' => {
                    self.class()?;
                    self.atom();
                }
                '(' => {
                    self.depth += 1;
                    self.group()?;
                }
                ')' => {
                    self.depth = self.depth.checked_sub(1).ok_or("unexpected )")?;
                    self.out.push(')');
                    self.atom();
                }
                '|' => {
                    self.out.push('|');
                    self.repeatable = false;
                    self.repeated = false;
                }
                '*' | '+' | '?' => self.repetition(letter)?,
                '{' => self.braces()?,
                '}' | ']' => {
                    self.out.push('\\');
                    self.out.push(letter);
                    self.atom();
                }
                other => {
                    self.out.push(other);
                    self.atom();
                }
            }
        }
        if self.depth > 0 {
            return Err("missing closing )".to_owned());
        }
        Ok(self.out)
    }

    fn atom(&mut self) {
        self.repeatable = true;
        self.repeated = false;
    }

    fn literal(&mut self, letter: char) {
        push_literal(&mut self.out, letter);
        self.atom();
    }

    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        self.repeatable = false;
        self.repeated = false;
        if self.rest.peek() != Some(&'?') {
            return Ok(());
        }
        self.rest.next();
        self.out.push('?');
        let mut head = String::new();
        while let Some(letter) = self.rest.peek().copied() {
            match letter {
                // A name: copied, and checked by the crate.
                'P' | '<' if head.is_empty() => {
                    let named: String = self.rest.clone().take_while(|c| *c != '>').collect();
                    let opens = named.starts_with("P<") || named.starts_with('<');
                    if !opens || named.starts_with("<=") || named.starts_with("<!") {
                        return Err("invalid or unsupported Perl syntax".to_owned());
                    }
                    for _ in 0..named.chars().count() {
                        self.rest.next();
                    }
                    self.out.push_str(&named);
                    return Ok(());
                }
                ':' | ')' => {
                    self.out.push_str(&head);
                    // `)` is met again by the walk: a group of flags only.
                    if letter == ':' {
                        self.rest.next();
                        self.out.push(':');
                    }
                    return Ok(());
                }
                'i' | 'm' | 's' | 'U' | '-' => {
                    head.push(letter);
                    self.rest.next();
                }
                _ => return Err("invalid or unsupported Perl syntax".to_owned()),
            }
        }
        Err("invalid or unsupported Perl syntax".to_owned())
    }

    fn repetition(&mut self, letter: char) -> Result<(), String> {
        if self.repeated {
            return Err("invalid nested repetition operator".to_owned());
        }
        if !self.repeatable {
            return Err("missing argument to repetition operator".to_owned());
        }
        self.out.push(letter);
        self.lazy();
        Ok(())
    }

    /// A repetition has been written: it may be a reluctant one.
    fn lazy(&mut self) {
        if self.rest.next_if_eq(&'?').is_some() {
            self.out.push('?');
        }
        self.repeated = true;
    }

    /// `{n}`, `{n,}` or `{n,m}`; any other brace stands for itself.
    fn braces(&mut self) -> Result<(), String> {
        let inside: String = self.rest.clone().take_while(|c| *c != '}').collect();
        let closed = self.rest.clone().nth(inside.chars().count()) == Some('}');
        let number = |text: &str| -> Option<u32> {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse().unwrap_or(u32::MAX))
        };
        let bounds = match inside.split_once(',') {
            None => number(&inside).map(|n| (n, n)),
            Some((from, "")) => number(from).map(|n| (n, n)),
            Some((from, to)) => number(from).zip(number(to)),
        };
        let Some((from, to)) = bounds.filter(|_| closed) else {
            self.literal('{');
            return Ok(());
        };
        if self.repeated {
            return Err("invalid nested repetition operator".to_owned());
        }
        if !self.repeatable {
            return Err("missing argument to repetition operator".to_owned());
        }
        if from > to || to > REPEAT_MAX {
            return Err("invalid repeat count".to_owned());
        }
        for _ in 0..=inside.chars().count() {
            self.rest.next();
        }
        self.out.push('{');
        self.out.push_str(&inside);
        self.out.push('}');
        self.lazy();
        Ok(())
    }

    /// After a backslash, outside classes.
    fn escape(&mut self) -> Result<(), String> {
        match self.rest.peek().copied() {
            Some('Q') => {
                self.rest.next();
                while let Some(letter) = self.rest.next() {
                    if letter == '\\' && self.rest.next_if_eq(&'E').is_some() {
                        break;
                    }
                    self.literal(letter);
                }
                Ok(())
            }
            Some(letter @ ('A' | 'z' | 'b' | 'B')) => {
                self.rest.next();
                self.out.push('\\');
                self.out.push(letter);
                self.atom();
                Ok(())
            }
            _ => {
                self.escaped(false)?;
                self.atom();
                Ok(())
            }
        }
    }

    /// An escape that stands for a letter or a class of letters, in or outside brackets.
    fn escaped(&mut self, in_class: bool) -> Result<(), String> {
        let Some(letter) = self.rest.next() else {
            return Err("trailing backslash at end of expression".to_owned());
        };
        match letter {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
                // ASCII only, as in RE2.
                self.out.push_str(match (letter, in_class) {
                    ('d', _) => "[0-9]",
                    ('D', _) => "[^0-9]",
                    ('s', _) => r"[\t\n\f\r\x20]",
                    ('S', _) => r"[^\t\n\f\r\x20]",
                    ('w', _) => "[0-9A-Za-z_]",
                    _ => "[^0-9A-Za-z_]",
                });
            }
            'p' | 'P' => self.property(letter)?,
            'a' | 'f' | 'n' | 'r' | 't' | 'v' => {
                self.out.push('\\');
                self.out.push(letter);
            }
            'x' => {
                let value = self.hexadecimal()?;
                push_literal(&mut self.out, value);
            }
            '0'..='7' => {
                // RE2 has no back references: `\1` to `\7` need a second octal digit.
                let follows = self.rest.peek().is_some_and(|c| ('0'..='7').contains(c));
                if letter != '0' && !follows {
                    return Err("invalid escape sequence".to_owned());
                }
                let mut value = letter.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.rest.peek().and_then(|c| c.to_digit(8)) else { break };
                    self.rest.next();
                    value = value * 8 + digit;
                }
                push_literal(&mut self.out, char::from_u32(value).unwrap_or('\0'));
            }
            other if !other.is_ascii_alphanumeric() => push_literal(&mut self.out, other),
            _ => return Err("invalid escape sequence".to_owned()),
        }
        Ok(())
    }

    fn hexadecimal(&mut self) -> Result<char, String> {
        let invalid = || "invalid escape sequence".to_owned();
        let digits: String = if self.rest.next_if_eq(&'{').is_some() {
            let digits: String = self.rest.by_ref().take_while(|c| *c != '}').collect();
            digits
        } else {
            self.rest.by_ref().take(2).collect()
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).ok_or_else(invalid)
    }

    /// `\pN`, `\p{Greek}`, `\p{^Greek}`.
    fn property(&mut self, letter: char) -> Result<(), String> {
        let name: String = match self.rest.next() {
            Some('{') => self.rest.by_ref().take_while(|c| *c != '}').collect(),
            Some(one) => one.to_string(),
            None => return Err("invalid character class range".to_owned()),
        };
        let (name, inverted) = match name.strip_prefix('^') {
            Some(name) => (name, true),
            None => (&*name, false),
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err("invalid character class range".to_owned());
        }
        let positive = (letter == 'p') != inverted;
        // RE2's `Any` is every letter, which the crate calls so too.
        self.out.push_str(if positive { r"\p{" } else { r"\P{" });
        self.out.push_str(name);
        self.out.push('}');
        Ok(())
    }

    /// A class in brackets: only its own few signs mean something, all others are escaped.
    fn class(&mut self) -> Result<(), String> {
        const MISSING: &str = "missing closing ]";
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let Some(letter) = self.rest.next() else { return Err(MISSING.to_owned()) };
            match letter {
                ']' if !first => {
                    self.out.push(']');
                    return Ok(());
                }
                '[' if self.rest.peek() == Some(&':') => {
                    let name: String = self.rest.clone().skip(1).take_while(|c| *c != ':').collect();
                    let end: String = self.rest.clone().skip(1 + name.chars().count()).take(2).collect();
                    if end == ":]" {
                        if !POSIX_CLASSES.contains(&name.strip_prefix('^').unwrap_or(&name)) {
                            return Err("invalid character class range".to_owned());
                        }
                        for _ in 0..name.chars().count() + 3 {
                            self.rest.next();
                        }
                        self.out.push_str("[:");
                        self.out.push_str(&name);
                        self.out.push_str(":]");
                    } else {
                        self.out.push_str(r"\[");
                    }
                }
                '\\' => self.escaped(true)?,
                // A range, unless it stands at an end.
                '-' if !first && self.rest.peek() != Some(&']') => {
                    if self.rest.peek() == Some(&'-') {
                        return Err("invalid character class range".to_owned());
                    }
                    self.out.push('-');
                }
                other => push_literal(&mut self.out, other),
            }
            first = false;
        }
    }
}

/// A letter that stands for itself, wherever it is.
fn push_literal(out: &mut String, letter: char) {
    if letter.is_ascii() && !letter.is_ascii_alphanumeric() {
        out.push_str(&format!(r"\x{:02x}", u32::from(letter)));
    } else {
        out.push(letter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names, and letters that no topic has, on which RE2/J and we must agree.
    const NAMES: [&str; 21] = [
        "a", "b", "ab", "&", "[b]", "ab]", "A", "-", "orders-1", ".*x", "a{", "]", "aa", "aaaaaa", "AB", "_",
        "a{,5}", "{", "x", "d", "5",
    ];

    #[test]
    fn expressions_match_what_they_match_in_kafkas_brokers() {
        // As RE2/J 1.8 answers, one digit for each of the names.
        let expected = [
            ("[a&&b]", "110100000000000000000"),
            ("[[a]b]", "000011000000000000000"),
            ("[a-]", "100000010000000000000"),
            ("[]a]", "100000000001000000000"),
            ("[^]a]", "010100110000000101111"),
            (r"\Q.*\Ex", "000000000100000000000"),
            (r"\p{Greek}", "000000000000000000000"),
            (r"\pN", "000000000000000000001"),
            (r"\p{^Greek}", "110100110001000101111"),
            ("a{", "000000000010000000000"),
            ("a{,5}", "000000000000000010000"),
            ("{", "000000000000000001000"),
            ("(?i)AB", "001000000000001000000"),
            ("(?P<n>a)", "100000000000000000000"),
            ("(?<n>a)", "100000000000000000000"),
            (r"\x41", "000000100000000000000"),
            (r"\x{41}", "000000100000000000000"),
            (r"\101", "000000100000000000000"),
            (r"\z", "000000000000000000000"),
            ("(?:a|b)+", "111000000000110000000"),
            ("[[:alpha:]]+", "111000100000111000110"),
            ("[--b]", "110000110001000100001"),
            (r"\_", "000000000000000100000"),
            (r"\<", "000000000000000000000"),
            (r"[\d-z]", "000000010000000000001"),
            ("(?i-s:a)", "100000100000000000000"),
            ("a??", "100000000000000000000"),
            ("a{2}?", "000000000000100000000"),
            (r"\b{", "000000000000000000000"),
            ("^a$", "100000000000000000000"),
            ("(?U)a*", "100000000000110000000"),
            ("^*", "000000000000000000000"),
            ("[[.a.]]", "000000000000000000000"),
            (r"[a\-z]", "100000010000000000000"),
            ("()*", "000000000000000000000"),
            ("orders-.*", "000000001000000000000"),
        ];
        for (pattern, answers) in expected {
            let compiled = TopicPattern::new(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
            let came: String =
                NAMES.iter().map(|name| if compiled.matches(name) { '1' } else { '0' }).collect();
            assert_eq!(came, answers, "{pattern}");
        }
    }

    #[test]
    fn what_re2_refuses_is_refused_with_its_reason() {
        let expected = [
            ("orders-(", "missing closing )"),
            ("(?=x)", "invalid or unsupported Perl syntax"),
            ("(?x)a", "invalid or unsupported Perl syntax"),
            ("(?i", "invalid or unsupported Perl syntax"),
            ("a**", "invalid nested repetition operator"),
            ("x*+", "invalid nested repetition operator"),
            ("x{2}{3}", "invalid nested repetition operator"),
            ("a{1001}", "invalid repeat count"),
            ("a{2,1}", "invalid repeat count"),
            ("a|*", "missing argument to repetition operator"),
            ("*a", "missing argument to repetition operator"),
            (r"\C", "invalid escape sequence"),
            (r"\1", "invalid escape sequence"),
            (r"\Z", "invalid escape sequence"),
            (r"\E", "invalid escape sequence"),
            ("[a--b]", "invalid character class range"),
            ("\\", "trailing backslash at end of expression"),
            ("[a", "missing closing ]"),
            ("(a", "missing closing )"),
            ("a)", "unexpected )"),
        ];
        for (pattern, reason) in expected {
            assert_eq!(TopicPattern::new(pattern).unwrap_err(), reason, "{pattern}");
        }
        for pattern in ["[z-a]", "[[:foo:]]", r"\p{Nonesuch}"] {
            assert!(TopicPattern::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn an_expression_that_is_catastrophic_elsewhere_is_answered_at_once() {
        let name = "a".repeat(249);
        assert!(!TopicPattern::new("(a*)*b").unwrap().matches(&name));
        assert!(!TopicPattern::new("(a|aa)+$b").unwrap().matches(&name));
        // One that would take more memory than it may is refused.
        assert!(
            TopicPattern::new("((a{1000}){1000}){1000}").unwrap_err().starts_with("expression too large")
        );
        assert!(TopicPattern::new(&"(".repeat(2_000)).is_err());
        let nested = format!("{}a{}", "(".repeat(2_000), ")".repeat(2_000));
        assert!(TopicPattern::new(&nested).is_err());
    }
}
