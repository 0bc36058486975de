//! JSON as a text instead of values: ordered and duplicate keys, numbers as text, and a writer that varies white space,
//! escapes and number forms.

use std::fmt::Write as _;

use serde_json::Value;

/// A JSON text that can be edited, also into invalid JSON.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    /// Written unchanged: a number, a word, or anything else.
    Raw(String),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

/// The choices of the writer, repeated from the first when exhausted. If empty or only zeros, it writes plainly.
pub(crate) struct Tape<'t> {
    choices: &'t [u8],
    at: usize,
}

impl<'t> Tape<'t> {
    pub(crate) fn new(choices: &'t [u8]) -> Self {
        Self { choices, at: 0 }
    }

    fn next(&mut self) -> u8 {
        let choice = self.choices.get(self.at % self.choices.len().max(1));
        self.at += 1;
        choice.copied().unwrap_or(0)
    }
}

impl From<&Value> for Tree {
    fn from(value: &Value) -> Self {
        match value {
            Value::String(text) => Tree::Text(text.clone()),
            Value::Array(values) => Tree::Array(values.iter().map(Tree::from).collect()),
            Value::Object(fields) => {
                Tree::Object(fields.iter().map(|(key, value)| (key.clone(), Tree::from(value))).collect())
            }
            plain => Tree::Raw(plain.to_string()),
        }
    }
}

impl Tree {
    /// The number of values in this one, including itself.
    pub(crate) fn size(&self) -> usize {
        1 + match self {
            Tree::Raw(_) | Tree::Text(_) => 0,
            Tree::Array(values) => values.iter().map(Tree::size).sum(),
            Tree::Object(fields) => fields.iter().map(|(_, value)| value.size()).sum(),
        }
    }

    /// The value with this number, counted from 0 in the order of the text.
    pub(crate) fn value(&mut self, mut number: usize) -> &mut Tree {
        if number == 0 {
            return self;
        }
        number -= 1;
        let values: Vec<&mut Tree> = match self {
            Tree::Raw(_) | Tree::Text(_) => Vec::new(),
            Tree::Array(values) => values.iter_mut().collect(),
            Tree::Object(fields) => fields.iter_mut().map(|(_, value)| value).collect(),
        };
        for value in values {
            let size = value.size();
            if number < size {
                return value.value(number);
            }
            number -= size;
        }
        panic!("there are fewer values than {number}");
    }

    /// All values under this key.
    pub(crate) fn under<'t>(&'t mut self, key: &str, found: &mut Vec<&'t mut Tree>) {
        match self {
            Tree::Raw(_) | Tree::Text(_) => {}
            Tree::Array(values) => values.iter_mut().for_each(|value| value.under(key, found)),
            Tree::Object(fields) => {
                for (name, value) in fields {
                    if name == key {
                        found.push(value);
                    } else {
                        value.under(key, found);
                    }
                }
            }
        }
    }

    /// Writes the text, without a line feed.
    pub(crate) fn write(&self, tape: &mut Tape<'_>, out: &mut String) {
        space(tape, out);
        match self {
            Tree::Raw(text) => write_raw(text, tape, out),
            Tree::Text(text) => write_text(text, tape, out),
            Tree::Array(values) => {
                out.push('[');
                for (index, value) in values.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    value.write(tape, out);
                }
                space(tape, out);
                out.push(']');
            }
            Tree::Object(fields) => {
                out.push('{');
                for (index, (key, value)) in fields.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    space(tape, out);
                    write_text(key, tape, out);
                    space(tape, out);
                    out.push(':');
                    value.write(tape, out);
                }
                space(tape, out);
                out.push('}');
            }
        }
        space(tape, out);
    }
}

fn space(tape: &mut Tape<'_>, out: &mut String) {
    out.push_str(match tape.next() {
        0..=199 => "",
        200..=220 => " ",
        221..=230 => "\t",
        231..=240 => "\r",
        _ => "  \t        \r ",
    });
}

/// A float keeps its value in another form. An integer would become a float, so it stays.
fn write_raw(text: &str, tape: &mut Tape<'_>, out: &mut String) {
    out.push_str(text);
    if text.contains('.') && text.ends_with(|last: char| last.is_ascii_digit()) && !text.contains(['e', 'E'])
    {
        out.push_str(match tape.next() {
            0..=180 => "",
            181..=200 => "e0",
            201..=220 => "E+00",
            221..=240 => "000000000000000000000000",
            _ => "0e-0",
        });
    }
}

fn write_text(text: &str, tape: &mut Tape<'_>, out: &mut String) {
    let escape_all = tape.next() > 220;
    out.push('"');
    for character in text.chars() {
        let is_special = matches!(character, '"' | '\\' | '\0'..='\u{1f}');
        if !(is_special || escape_all && tape.next() & 1 == 1) {
            out.push(character);
            continue;
        }
        let short = "\"\\/\u{8}\u{c}\n\r\t".chars().zip("\"\\/bfnrt".chars());
        match short.into_iter().find(|(plain, _)| *plain == character) {
            Some((_, letter)) if tape.next() < 200 => {
                out.push('\\');
                out.push(letter);
            }
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let written = if tape.next() & 1 == 1 {
                        write!(out, "\\u{unit:04X}")
                    } else {
                        write!(out, "\\u{unit:04x}")
                    };
                    written.expect("memory");
                }
            }
        }
    }
    out.push('"');
}
