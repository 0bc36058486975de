//! Finds the end of one JSON value from its quotes and brackets.
//!
//! Invariant: a valid value never causes a fault, and its end is found wherever the text is split. A fault always means
//! malformed JSON. Text without a fault can still be malformed, which the parser detects.

mod blocks;
#[cfg(test)]
mod tests;

/// The maximum nesting depth, equal to the parser's.
pub(crate) const DEPTH_MAX: u32 = 127;

/// A search for the end of a value. It resumes where the previous text ended.
#[derive(Debug, Clone)]
pub(crate) struct ValueScan {
    /// The offset of the next byte to scan.
    at: usize,
    depth: u32,
    /// One bit per level, set for an array. The lowest bit is the innermost level.
    arrays: u128,
    /// The last byte that is not white space. 0 before the first one.
    previous: u8,
    within: Within,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Outside,
    String,
    /// In a string, after a backslash.
    Escaped,
    /// In a number or a literal that is the whole value.
    Bare,
    /// After the value.
    Ended,
}

/// The result of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// The value ends before this offset.
    End(usize),
    /// The text is not JSON, as the byte at this offset shows.
    Fault(usize),
    /// The text ends within the value.
    Open,
}

impl ValueScan {
    /// Creates a scan of the value that begins at `start`.
    pub(crate) fn new(start: usize) -> Self {
        Self { at: start, depth: 0, arrays: 0, previous: 0, within: Within::Outside }
    }

    /// Creates the scan of a value that was found to end before `end`. It finds the same end again.
    pub(crate) fn ended(end: usize) -> Self {
        Self { within: Within::Ended, ..Self::new(end) }
    }

    /// Returns whether the value may end with the text: it is a number or a literal.
    pub(crate) fn may_end(&self) -> bool {
        self.within == Within::Bare
    }

    /// Adjusts the offset after the first bytes of the text were removed.
    pub(crate) fn rebase(&mut self, removed: usize) {
        self.at -= removed;
    }

    /// Continues the scan. The text must begin with the text of the previous call.
    pub(crate) fn advance(&mut self, text: &[u8]) -> Scanned {
        loop {
            if let Some(scanned) = self.blocks(text).or_else(|| self.step(text)) {
                return scanned;
            }
        }
    }

    /// Scans byte by byte up to the next state, or to a result.
    fn step(&mut self, text: &[u8]) -> Option<Scanned> {
        match self.within {
            Within::Outside => self.outside(text),
            Within::String => self.string(text),
            Within::Escaped => self.escaped(text),
            Within::Bare => Some(self.bare(text)),
            Within::Ended => Some(Scanned::End(self.at)),
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
                    // Only the last byte between brackets, commas and quotes matters.
                    let rest = &text[at..];
                    let length = rest.iter().position(|byte| !is_bare(*byte)).unwrap_or(rest.len()).max(1);
                    // A NUL byte is not the start of the value.
                    previous = rest[length - 1].max(1);
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
                    // Fast path: most often another string follows.
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

/// Returns whether a number or a literal may contain this byte.
fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// Returns the offset of the next quote, backslash or line feed from `at` on, or the end of the text.
#[inline]
fn special_byte(text: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // The lowest high bit in the result marks the first zero byte. Higher bits can be false positives.
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
