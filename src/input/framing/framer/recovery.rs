//! What the framer does about text that is no JSON, and about values that are too long.

use memchr::{memchr, memchr_iter};

use crate::input::framing::framer::{Ahead, Framed, Framer, Joint, Span, is_space};
use crate::input::framing::scan::{Scanned, ValueScan};

/// A column behind something that was too long.
const FAR_COLUMN: usize = 1 << 40;

/// How far something is passed over that is too long.
#[derive(Debug, Clone)]
pub(crate) enum Passing {
    Value(ValueScan),
    /// Its end is passed; a line feed that follows at once belongs to it.
    Tail,
    Line,
}

impl Framer {
    /// Frames what is no JSON, as `fault` shows.
    pub(crate) fn faulty(&mut self, text: &[u8], fault: usize, ahead: Ahead) -> Framed {
        self.fault = Some(fault);
        let (start, window) = (self.start, self.window(text, 1));
        let newline = memchr(b'\n', &window[start..]).map(|found| start + found);
        let end = match newline {
            Some(end) => end,
            None if window.len() - start > self.value_max_bytes => return self.too_long(window),
            None if ahead == Ahead::Nothing => text.len(),
            None => return Framed::More,
        };
        let (end, next) = if fault > end {
            match self.deeper_lines(text, end, ahead) {
                Some(found) => found,
                None => return Framed::More,
            }
        } else {
            (end, text.len().min(end + 1))
        };
        self.vain += (fault - start) as u64;
        self.array_faulty = true;
        let framed = self.part(text, start, end, next);
        self.joint.needs_comma = false;
        self.long_line &= next <= end;
        framed
    }

    /// The end of the lines behind the one that ends at `end` that are deeper than the value at `start`, and what comes next;
    /// None if that is not to be seen yet.
    fn deeper_lines(&self, text: &[u8], mut end: usize, ahead: Ahead) -> Option<(usize, usize)> {
        let column = self.column_of(text, self.start);
        let text = self.window(text, 2);
        let is_last = ahead == Ahead::Nothing || text.len() - self.start > self.value_max_bytes * 2;
        let mut next = text.len().min(end + 1);
        let mut line = next;
        while line - self.start <= self.value_max_bytes {
            let indent = text[line..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
            match text.get(line + indent) {
                None if is_last => break,
                None => return None,
                Some(b'\n') => line += indent + 1,
                Some(b'}' | b']') if indent == column => return Some((line + indent + 1, line + indent + 1)),
                Some(_) if indent <= column => break,
                Some(_) => {
                    let newline = memchr(b'\n', &text[line..]).map(|found| line + found);
                    end = newline.or(is_last.then_some(text.len()))?;
                    next = text.len().min(end + 1);
                    line = next;
                }
            }
        }
        Some((end, next))
    }

    /// Where, in a value that does not end, another one seems to begin: at a line's start, not deeper than this one.
    pub(crate) fn other_value(&self, text: &[u8]) -> Option<usize> {
        let column = self.column_of(text, self.start);
        memchr_iter(b'\n', &text[self.start..]).map(|found| self.start + found + 1).find_map(|line| {
            let indent = text[line..].iter().take(column + 1).take_while(|byte| is_space(**byte)).count();
            matches!(text.get(line + indent), Some(b'{' | b'[')).then_some(line + indent)
        })
    }

    /// Begins to pass over what begins at `start`.
    pub(crate) fn too_long(&mut self, text: &[u8]) -> Framed {
        let known = Span { start: self.start, end: text.len(), line: self.lines, index: self.array };
        let scan = self.scan.take();
        self.passing = Some(match (self.fault.take(), scan) {
            (None, Some(scan)) => Passing::Value(scan),
            _ => Passing::Line,
        });
        Framed::TooLong(known)
    }

    /// Passes over the text behind what is too long, and says where that ends; None if it does not end in it. Anew, the
    /// text begins with what follows. `gone` is the length of the text before.
    pub(crate) fn pass_over(&mut self, gone: usize, text: &[u8], ahead: Ahead) -> Option<usize> {
        let passing = self.passing.as_mut()?;
        let is_last = ahead == Ahead::Nothing;
        let mut from = 0;
        if let Passing::Value(scan) = passing {
            scan.rebase(gone);
            match scan.advance(text) {
                Scanned::End(end) => {
                    *passing = Passing::Tail;
                    from = end;
                }
                Scanned::Open if is_last => return Some(self.passed(text.len())),
                Scanned::Open => return None,
                Scanned::Fault(fault) => {
                    *passing = Passing::Line;
                    from = fault;
                }
            }
        }
        if matches!(passing, Passing::Tail) {
            return match text.get(from) {
                Some(b'\n') => Some(self.passed_line(from)),
                None if !is_last => None,
                _ => Some(self.passed(from)),
            };
        }
        self.array_faulty = true;
        match memchr(b'\n', &text[from..]) {
            Some(found) => Some(self.passed_line(from + found)),
            None if is_last => Some(self.passed(text.len())),
            None => None,
        }
    }

    /// Passes a line feed as well.
    fn passed_line(&mut self, feed: usize) -> usize {
        self.passed(feed);
        self.long_line = false;
        self.column = 0;
        feed + 1
    }

    fn passed(&mut self, end: usize) -> usize {
        self.passing = None;
        self.array = self.array.map(|index| index + 1);
        self.joint = Joint::default();
        (self.start, self.lines, self.sought) = (0, 0, 0);
        // Its number does not matter: what follows is not the first of its line.
        self.column = FAR_COLUMN;
        end
    }
}
