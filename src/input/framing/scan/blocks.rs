//! Scans a value in blocks of 64 bytes, with one bit per byte. Twice as fast as byte by byte.
//!
//! Invariant: the result is that of scanning byte by byte.

use crate::input::framing::scan::{DEPTH_MAX, Scanned, ValueScan, Within};
use wide::u8x64;

const BLOCK_BYTES: usize = 64;

type Block = [u8; BLOCK_BYTES];

/// The marks of a block. Bit N stands for byte N.
struct Marks {
    /// Line feeds in strings.
    feeds_in_strings: u64,
    opening_quotes: u64,
    /// Brackets outside strings, and some bytes that valid JSON has only in strings.
    brackets: u64,
    /// Bytes whose previous byte outside strings is a comma, a colon, an opening bracket. White space does not count.
    after_comma: u64,
    after_colon: u64,
    after_opening: u64,
    /// Whether the block ends in a string, and after a backslash in it.
    ends_in_string: bool,
    ends_escaped: bool,
}

impl ValueScan {
    /// Scans as many blocks as possible, inside an object or an array.
    pub(super) fn blocks(&mut self, text: &[u8]) -> Option<Scanned> {
        if self.depth == 0 {
            return None;
        }
        while matches!(self.within, Within::Outside | Within::String) {
            let block = text.get(self.at..)?.first_chunk::<BLOCK_BYTES>()?;
            let marks = Marks::of(block, self.within == Within::String, self.previous)?;
            if let Some(scanned) = self.block(block, &marks) {
                return Some(scanned);
            }
        }
        None
    }

    fn block(&mut self, block: &Block, marks: &Marks) -> Option<Scanned> {
        let may_open_string = marks.after_comma | marks.after_colon | marks.after_opening;
        let faults = marks.feeds_in_strings | marks.opening_quotes & !may_open_string;
        let fault = faults.trailing_zeros() as usize;
        let mut brackets = marks.brackets;
        while brackets != 0 {
            let place = brackets.trailing_zeros() as usize;
            brackets &= brackets - 1;
            if place > fault {
                break;
            }
            let byte = block[place];
            let is_array = self.arrays & 1 == 1;
            let is_set = |marks: u64| marks >> place & 1 == 1;
            match byte {
                b'{' | b'[' => {
                    let fits = is_set(if is_array {
                        marks.after_comma | marks.after_opening
                    } else {
                        marks.after_colon
                    });
                    if !fits || self.depth == DEPTH_MAX {
                        return Some(Scanned::Fault(self.at + place));
                    }
                    self.depth += 1;
                    self.arrays = self.arrays << 1 | u128::from(byte == b'[');
                }
                b'}' | b']' => {
                    if is_array != (byte == b']') || is_set(marks.after_comma | marks.after_colon) {
                        return Some(Scanned::Fault(self.at + place));
                    }
                    self.depth -= 1;
                    self.arrays >>= 1;
                    if self.depth == 0 {
                        return Some(Scanned::End(self.at + place + 1));
                    }
                }
                _ => {}
            }
        }
        if fault < BLOCK_BYTES {
            return Some(Scanned::Fault(self.at + fault));
        }
        self.at += BLOCK_BYTES;
        (self.within, self.previous) = if marks.ends_escaped {
            (Within::Escaped, b'"')
        } else if marks.ends_in_string {
            (Within::String, b'"')
        } else {
            let last = block.iter().rev().copied().find(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
            (Within::Outside, last.map_or(self.previous, |last| last.max(1)))
        };
        None
    }
}

impl Marks {
    /// Returns the marks of a block that begins inside or outside a string, after the byte `previous`. None if there is a
    /// backslash outside a string.
    #[inline]
    fn of(block: &Block, begins_in_string: bool, previous: u8) -> Option<Self> {
        let bytes = u8x64::from(*block);
        let equal = |bytes: u8x64, byte: u8| bytes.simd_eq(u8x64::splat(byte)).to_bitmask();
        let mark = |byte: u8| equal(bytes, byte);
        let backslashes = mark(b'\\');
        let escaped = Escaped::of(backslashes);
        let quotes = mark(b'"') & !escaped.bytes;
        // From each opening quote up to its closing quote.
        let strings = xor_of_lower(quotes) ^ if begins_in_string { u64::MAX } else { 0 };
        if backslashes & !strings != 0 {
            return None;
        }
        let feeds = mark(b'\n');
        let spaces = (mark(b' ') | feeds | mark(b'\r') | mark(b'\t')) & !strings;
        // Ignores the bits in which the brackets differ.
        let [brackets, opening] =
            [0xd9, 0xdf].map(|mask| equal(bytes & u8x64::splat(mask), b'{' & mask) & !strings);
        // The addition carries a bit through the white space that it begins.
        let after = |marks: u64, is_previous: bool| {
            let next = marks << 1 | u64::from(is_previous);
            next | (next & spaces).wrapping_add(spaces) & !spaces
        };
        Some(Self {
            feeds_in_strings: feeds & strings,
            opening_quotes: quotes & strings,
            brackets,
            after_comma: after(mark(b',') & !strings, previous == b','),
            after_colon: after(mark(b':') & !strings, previous == b':'),
            after_opening: after(opening, matches!(previous, b'{' | b'[')),
            ends_in_string: strings >> 63 == 1,
            ends_escaped: escaped.is_next,
        })
    }
}

/// The escaped bytes of a block.
struct Escaped {
    bytes: u64,
    /// Whether the first byte of the next block is escaped.
    is_next: bool,
}

impl Escaped {
    fn of(mut backslashes: u64) -> Self {
        let mut escaped = Self { bytes: 0, is_next: false };
        while backslashes != 0 {
            let first = backslashes & backslashes.wrapping_neg();
            escaped.bytes |= first << 1;
            escaped.is_next = first >> 63 == 1;
            backslashes &= !(first | first << 1);
        }
        escaped
    }
}

/// Returns for each bit whether the number of set bits up to it is odd.
#[inline]
fn xor_of_lower(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}
