//! A second, naive reader of JSON (RFC 8259), to hold the real one to: it keeps duplicate names, numbers as written and
//! every value's own text, and takes what the grammar takes, whatever the depth.

/// A value, with the text it was written as.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    pub raw: &'a str,
    pub value: Json<'a>,
}

#[derive(Clone, Debug)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    /// As written.
    Number(&'a str),
    /// Without its escapes; `None` if a lone surrogate is among them, which no text can hold.
    Text(Option<String>),
    List(Vec<Node<'a>>),
    /// In written order, with duplicates.
    Object(Vec<(Option<String>, Node<'a>)>),
}

/// Reads one value; `None` for what is not JSON.
pub fn read(bytes: &[u8]) -> Option<Node<'_>> {
    let mut reader = Reader { text: std::str::from_utf8(bytes).ok()?, at: 0 };
    reader.blanks();
    let node = reader.value()?;
    reader.blanks();
    (reader.at == reader.text.len()).then_some(node)
}

impl<'a> Node<'a> {
    /// All members of this name; none if this is no object.
    pub fn all(&self, name: &str) -> Vec<&Node<'a>> {
        let Json::Object(members) = &self.value else { return Vec::new() };
        members.iter().filter(|(n, _)| n.as_deref() == Some(name)).map(|(_, v)| v).collect()
    }

    /// The last member of this name.
    pub fn last(&self, name: &str) -> Option<&Node<'a>> {
        self.all(name).pop()
    }

    pub fn text(&self) -> Option<&str> {
        if let Json::Text(Some(text)) = &self.value { Some(text) } else { None }
    }

    pub const fn is_null(&self) -> bool {
        matches!(self.value, Json::Null)
    }

    pub const fn is_object(&self) -> bool {
        matches!(self.value, Json::Object(_))
    }

    /// Whether the grammar takes it, but not every reader has a place for it: a lone surrogate, a number beyond every
    /// float, or nesting deeper than 127.
    pub fn is_extreme(&self) -> bool {
        self.extreme_below(127)
    }

    fn extreme_below(&self, depth: u32) -> bool {
        match &self.value {
            Json::Null | Json::Bool(_) => false,
            Json::Number(text) => !text.parse::<f64>().is_ok_and(f64::is_finite),
            Json::Text(text) => text.is_none(),
            Json::List(_) | Json::Object(_) if depth == 0 => true,
            Json::List(items) => items.iter().any(|i| i.extreme_below(depth - 1)),
            Json::Object(members) => members.iter().any(|(n, v)| n.is_none() || v.extreme_below(depth - 1)),
        }
    }

    /// Whether an object in here has two members of one name.
    pub fn has_duplicates(&self) -> bool {
        match &self.value {
            Json::List(items) => items.iter().any(Node::has_duplicates),
            Json::Object(members) => members.iter().enumerate().any(|(index, (name, value))| {
                value.has_duplicates() || members.iter().take(index).any(|(n, _)| n == name)
            }),
            _ => false,
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, wanted: &str) -> Option<()> {
        self.text.get(self.at..)?.starts_with(wanted).then(|| self.at += wanted.len())
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Option<Node<'a>> {
        let start = self.at;
        let value = match self.peek()? {
            b'n' => self.take("null").map(|()| Json::Null)?,
            b't' => self.take("true").map(|()| Json::Bool(true))?,
            b'f' => self.take("false").map(|()| Json::Bool(false))?,
            b'"' => Json::Text(String::from_utf16(&self.string()?).ok()),
            b'[' => self.list()?,
            b'{' => self.object()?,
            _ => self.number()?,
        };
        Some(Node { raw: self.text.get(start..self.at)?, value })
    }

    fn list(&mut self) -> Option<Json<'a>> {
        let mut items = Vec::new();
        self.take("[")?;
        self.blanks();
        if self.take("]").is_some() {
            return Some(Json::List(items));
        }
        loop {
            self.blanks();
            items.push(self.value()?);
            self.blanks();
            if self.take("]").is_some() {
                return Some(Json::List(items));
            }
            self.take(",")?;
        }
    }

    fn object(&mut self) -> Option<Json<'a>> {
        let mut members = Vec::new();
        self.take("{")?;
        self.blanks();
        if self.take("}").is_some() {
            return Some(Json::Object(members));
        }
        loop {
            self.blanks();
            let name = String::from_utf16(&self.string()?).ok();
            self.blanks();
            self.take(":")?;
            self.blanks();
            members.push((name, self.value()?));
            self.blanks();
            if self.take("}").is_some() {
                return Some(Json::Object(members));
            }
            self.take(",")?;
        }
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<Json<'a>> {
        let start = self.at;
        let _ = self.take("-");
        if self.take("0").is_none() {
            self.digits()?;
        }
        if self.take(".").is_some() {
            self.digits()?;
        }
        if self.take("e").or_else(|| self.take("E")).is_some() {
            let _ = self.take("+").or_else(|| self.take("-"));
            self.digits()?;
        }
        Some(Json::Number(self.text.get(start..self.at)?))
    }

    /// In UTF-16, in which escapes are written.
    fn string(&mut self) -> Option<Vec<u16>> {
        let mut units: Vec<u16> = Vec::new();
        self.take("\"")?;
        loop {
            let next = self.text.get(self.at..)?.chars().next()?;
            self.at += next.len_utf8();
            match next {
                '"' => return Some(units),
                '\\' => units.push(self.escape()?),
                '\0'..='\x1f' => return None,
                other => units.extend(other.encode_utf16(&mut [0; 2]).iter()),
            }
        }
    }

    fn escape(&mut self) -> Option<u16> {
        let letter = self.peek()?;
        self.at += 1;
        Some(match letter {
            b'"' | b'\\' | b'/' => u16::from(letter),
            b'b' => 8,
            b'f' => 12,
            b'n' => 10,
            b'r' => 13,
            b't' => 9,
            b'u' => {
                let hex = self.text.get(self.at..self.at + 4)?;
                self.at += 4;
                hex.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u16::from_str_radix(hex, 16).ok())??
            }
            _ => return None,
        })
    }
}
