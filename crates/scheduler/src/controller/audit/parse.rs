//! A JSON reader that keeps integers and floats apart and reads floats exactly.
//!
//! `serde_json` without extra features reads floats to within one unit in the last place, and an
//! audit log's hash would not come out again.

use std::collections::BTreeMap;

use thiserror::Error;

use super::json::Json;

/// Deepest nesting that is read.
pub const MAX_DEPTH: usize = 64;

/// Why a text is no JSON that is read here.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum JsonError {
    /// Something else was expected.
    #[error("byte {at}: {expected} is expected")]
    Syntax {
        /// Where, from 0.
        at: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// Lists and objects in one another, too deep.
    #[error("byte {0}: nested deeper than {MAX_DEPTH}")]
    Depth(usize),
    /// An integer that does not fit.
    #[error("byte {0}: an integer of more than 127 bits")]
    Integer(usize),
    /// A name twice in an object.
    #[error("byte {at}: the name {name:?} stands twice in an object")]
    Twice {
        /// Where, from 0.
        at: usize,
        /// The name.
        name: String,
    },
    /// Half of a surrogate pair.
    #[error("byte {0}: half of a surrogate pair is no character")]
    Surrogate(usize),
}

impl Json {
    /// Reads one JSON value with nothing but white space around it.
    ///
    /// # Errors
    /// What is wrong first, and at which byte.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.space();
        if reader.at < text.len() {
            return reader.wrong("the end");
        }
        Ok(value)
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn wrong<T>(&self, expected: &'static str) -> Result<T, JsonError> {
        Err(JsonError::Syntax { at: self.at, expected })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        if found {
            self.at += word.len();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError::Depth(self.at));
        }
        self.space();
        let words = [
            ("null", Json::Null),
            ("true", Json::Bool(true)),
            ("false", Json::Bool(false)),
            ("NaN", Json::Float(f64::NAN)),
            ("Infinity", Json::Float(f64::INFINITY)),
            ("-Infinity", Json::Float(f64::NEG_INFINITY)),
        ];
        match self.peek() {
            Some(b'"') => return Ok(Json::Text(self.string()?)),
            Some(b'[') => return self.list(depth),
            Some(b'{') => return self.object(depth),
            _ => {}
        }
        for (word, value) in words {
            if self.eat(word) {
                return Ok(value);
            }
        }
        self.number()
    }

    fn list(&mut self, depth: usize) -> Result<Json, JsonError> {
        let mut items = Vec::new();
        self.at += 1;
        self.space();
        if self.eat("]") {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            if self.eat("]") {
                return Ok(Json::List(items));
            }
            if !self.eat(",") {
                return self.wrong("`,` or `]`");
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonError> {
        let mut fields = BTreeMap::new();
        self.at += 1;
        self.space();
        if self.eat("}") {
            return Ok(Json::Object(fields));
        }
        loop {
            self.space();
            let at = self.at;
            if self.peek() != Some(b'"') {
                return self.wrong("a name in quotes");
            }
            let name = self.string()?;
            self.space();
            if !self.eat(":") {
                return self.wrong("`:`");
            }
            let value = self.value(depth + 1)?;
            if fields.insert(name.clone(), value).is_some() {
                return Err(JsonError::Twice { at, name: name.chars().take(64).collect() });
            }
            self.space();
            if self.eat("}") {
                return Ok(Json::Object(fields));
            }
            if !self.eat(",") {
                return self.wrong("`,` or `}`");
            }
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { self.wrong("a digit") } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Json, JsonError> {
        let start = self.at;
        self.eat("-");
        if !self.peek().is_some_and(|b| b.is_ascii_digit()) {
            return self.wrong("a value");
        }
        // A zero stands alone before the point.
        if !self.eat("0") {
            self.digits()?;
        }
        let mut whole = true;
        if self.eat(".") {
            whole = false;
            self.digits()?;
        }
        if self.eat("e") || self.eat("E") {
            whole = false;
            if !self.eat("+") {
                self.eat("-");
            }
            self.digits()?;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        if whole {
            return text.parse().map(Json::Int).map_err(|_| JsonError::Integer(start));
        }
        text.parse().map(Json::Float).or_else(|_| self.wrong("a number"))
    }

    fn string(&mut self) -> Result<String, JsonError> {
        let mut out = String::new();
        self.at += 1;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let Some(c) = rest.chars().next() else { return self.wrong("`\"`") };
            match c {
                '"' => {
                    self.at += 1;
                    return Ok(out);
                }
                '\\' => out.push(self.escape()?),
                '\0'..='\u{1f}' => return self.wrong("an escape for this character"),
                _ => {
                    out.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        self.at += 1;
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(start),
            _ => return self.wrong("one of \"\\/bfnrtu"),
        };
        self.at += 1;
        Ok(c)
    }

    fn unicode(&mut self, start: usize) -> Result<char, JsonError> {
        self.at += 1;
        let high = self.unit()?;
        let mut units = vec![high];
        if (0xd800..0xdc00).contains(&high) && self.eat("\\u") {
            units.push(self.unit()?);
        }
        let mut found = char::decode_utf16(units);
        match (found.next(), found.next()) {
            (Some(Ok(c)), None) => Ok(c),
            _ => Err(JsonError::Surrogate(start)),
        }
    }

    fn unit(&mut self) -> Result<u16, JsonError> {
        let text = self.text.as_bytes().get(self.at..self.at + 4);
        let text = text.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let text = text.and_then(|digits| std::str::from_utf8(digits).ok());
        match text.and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
            Some(unit) => {
                self.at += 4;
                Ok(unit)
            }
            None => self.wrong("four hexadecimal digits"),
        }
    }
}
