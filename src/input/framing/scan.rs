//! Finds the end of one JSON value by its quotes and brackets.
//!
//! Invariant: a valid value is never faulted, and its end is found wherever the text is split. What is found faulty is no
//! JSON; what is not found faulty may still be none, which the parser sees.

/// How deep arrays and objects may lie in one another, as in the parser.
const DEPTH_MAX: u32 = 127;

/// A value whose end is looked for. It resumes where the text ended before.
#[derive(Debug, Clone)]
pub(crate) struct ValueScan {
    /// The next byte to look at.
    at: usize,
    depth: u32,
    /// For each level, the lowest bit being that of the innermost, whether it is an array.
    arrays: u128,
    /// The last byte that is no white space; 0 before the first.
    previous: u8,
    within: Within,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Outside,
    String,
    /// In a string, behind a backslash.
    Escaped,
    /// In a number or a word that is the whole value.
    Bare,
}

/// What a scan came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// The value ends before this byte.
    End(usize),
    /// It is no JSON; this byte shows it.
    Fault(usize),
    /// The text ends within the value.
    Open,
}

impl ValueScan {
    /// Looks for the end of the value that begins at `start`.
    pub(crate) fn new(start: usize) -> Self {
        Self { at: start, depth: 0, arrays: 0, previous: 0, within: Within::Outside }
    }

    /// Whether the value may end where the text does: a number or a word.
    pub(crate) fn may_end(&self) -> bool {
        self.within == Within::Bare
    }

    /// Follows the text whose first bytes are gone.
    pub(crate) fn rebase(&mut self, gone: usize) {
        self.at -= gone;
    }

    /// Looks further, in a text that begins as that of the call before.
    pub(crate) fn advance(&mut self, text: &[u8]) -> Scanned {
        loop {
            let scanned = match self.within {
                Within::Outside => self.outside(text),
                Within::String => self.string(text),
                Within::Escaped => self.escaped(text),
                Within::Bare => Some(self.bare(text)),
            };
            if let Some(scanned) = scanned {
                return scanned;
            }
        }
    }

    fn outside(&mut self, text: &[u8]) -> Option<Scanned> {
        let mut at = self.at;
        let mut previous = self.previous;
        let scanned = loop {
            let Some(&byte) = text.get(at) else { break Some(Scanned::Open) };
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => {
                    at += 1;
                    continue;
                }
                b'"' => {
                    if !matches!(previous, b',' | b':' | b'{' | b'[' | 0) {
                        break Some(Scanned::Fault(at));
                    }
                    self.within = Within::String;
                    at += 1;
                    previous = b'"';
                    break None;
                }
                b'{' | b'[' => {
                    let fits = match previous {
                        0 => true,
                        b':' => self.arrays & 1 == 0,
                        b',' | b'[' => self.arrays & 1 == 1,
                        _ => false,
                    };
                    if !fits || self.depth == DEPTH_MAX {
                        break Some(Scanned::Fault(at));
                    }
                    self.depth += 1;
                    self.arrays = self.arrays << 1 | u128::from(byte == b'[');
                }
                b'}' | b']' => {
                    let fits = self.depth > 0
                        && (self.arrays & 1 == 1) == (byte == b']')
                        && !matches!(previous, b',' | b':')
                        && (previous != b'{' || byte == b'}')
                        && (previous != b'[' || byte == b']');
                    if !fits {
                        break Some(Scanned::Fault(at));
                    }
                    self.depth -= 1;
                    self.arrays >>= 1;
                    if self.depth == 0 {
                        at += 1;
                        break Some(Scanned::End(at));
                    }
                }
                _ if previous == 0 => {
                    self.within = Within::Bare;
                    break if is_bare(byte) { None } else { Some(Scanned::Fault(at)) };
                }
                _ => {
                    // What is between brackets, commas and quotes is of no interest, but for its last byte.
                    let rest = &text[at..];
                    let length = rest.iter().position(|byte| !is_bare(*byte)).unwrap_or(rest.len()).max(1);
                    previous = rest[length - 1];
                    at += length;
                    continue;
                }
            }
            previous = byte;
            at += 1;
        };
        self.at = at;
        self.previous = previous;
        scanned
    }

    fn string(&mut self, text: &[u8]) -> Option<Scanned> {
        let mut at = self.at;
        let scanned = loop {
            at = special_byte(text, at);
            match text.get(at) {
                Some(b'"') => {
                    at += 1;
                    // Most often a key or a value that is a string follows.
                    if self.depth > 0
                        && let Some([b':' | b',', b'"']) = text.get(at..at + 2)
                    {
                        at += 2;
                        continue;
                    }
                    self.within = Within::Outside;
                    break (self.depth == 0).then_some(Scanned::End(at));
                }
                Some(b'\\') => {
                    at += 1;
                    self.within = Within::Escaped;
                    break None;
                }
                Some(_) => break Some(Scanned::Fault(at)),
                None => break Some(Scanned::Open),
            }
        };
        self.at = at;
        scanned
    }

    fn escaped(&mut self, text: &[u8]) -> Option<Scanned> {
        match text.get(self.at) {
            None => Some(Scanned::Open),
            Some(b'\n') => Some(Scanned::Fault(self.at)),
            Some(_) => {
                self.at += 1;
                self.within = Within::String;
                None
            }
        }
    }

    fn bare(&mut self, text: &[u8]) -> Scanned {
        while let Some(&byte) = text.get(self.at) {
            if !is_bare(byte) {
                return Scanned::End(self.at);
            }
            self.at += 1;
        }
        Scanned::Open
    }
}

/// Whether a number or a word may have this byte.
fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// The place of the next quote, backslash or line feed from `at` on, or the end of the text.
#[inline]
fn special_byte(text: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // A byte is zero where its high bit is set in the result; above the first such byte others may be set wrongly.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let is_byte = |word: u64, byte: u8| zeros(word ^ (ONES * u64::from(byte)));
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let found = is_byte(word, b'"') | is_byte(word, b'\\') | is_byte(word, b'\n');
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while at < text.len() && !matches!(text[at], b'"' | b'\\' | b'\n') {
        at += 1;
    }
    at
}
