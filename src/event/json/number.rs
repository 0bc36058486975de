//! JSON numbers.

use crate::event::document::DIGITS_MAX;
use crate::event::fault::FaultKind;
use crate::event::forms::extended_json;
use crate::event::forms::extended_json::ExtendedNumber;
use crate::event::json::{Cursor, Parsed};

/// Maximum absolute value of a stored float. In the game, item power is below 3,000 and damage in one fight below 10
/// million. PostgreSQL can compute sums, averages and variances of any number of floats within this limit.
const FLOAT_MAX: f64 = 1e12;

/// Minimum absolute value of a stored float other than 0. PostgreSQL rejects products and quotients that underflow.
const FLOAT_MIN: f64 = 1e-100;

pub(crate) struct Number<'a> {
    text: &'a str,
    /// Whether the number has neither a fraction nor an exponent.
    integer: bool,
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(crate) fn integer(&mut self) -> Parsed<Option<i64>> {
        let Some(first @ (b'-' | b'0'..=b'9')) = self.peek() else {
            return self.no_integer();
        };
        if let Some(value) = self.short_integer() {
            return Ok(Some(value));
        }
        let number = self.number()?;
        // serde_json parses `-0` and every number with a fraction or an exponent as a float.
        if number.integer && (first != b'-' || number.text != "-0") {
            match number.text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(FaultKind::IntegerTooLarge.into()),
            }
        } else {
            Err(FaultKind::Fraction.into())
        }
    }

    /// Fast path for nearly all integers: no sign and at most 18 digits, so they fit 64 bits.
    #[inline]
    fn short_integer(&mut self) -> Option<i64> {
        const DIGITS_MAX: usize = 18;
        let rest = &self.text.as_bytes()[self.at..];
        let (mut value, mut digits) = (0, 0);
        while let Some(digit @ b'0'..=b'9') = rest.get(digits) {
            if digits == DIGITS_MAX {
                return None;
            }
            value = value * 10 + i64::from(digit - b'0');
            digits += 1;
        }
        let leading_zero = rest.first() == Some(&b'0') && digits > 1;
        if digits == 0 || leading_zero || matches!(rest.get(digits), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        self.at += digits;
        Some(value)
    }

    /// Parses a number that is 0 or has an absolute value from [`FLOAT_MIN`] to [`FLOAT_MAX`].
    #[inline]
    pub(crate) fn float(&mut self) -> Parsed<Option<f64>> {
        let Some(b'-' | b'0'..=b'9') = self.peek() else {
            return self.no_float();
        };
        let number = self.number()?;
        match number.text.parse() {
            Ok(value) => in_range(value).map(Some),
            Err(_) => Err(self.syntax("malformed number")),
        }
    }

    /// Handles an integer field whose value does not start like an integer.
    #[cold]
    fn no_integer(&mut self) -> Parsed<Option<i64>> {
        if self.null()? {
            return Ok(None);
        }
        match self.extended_number()? {
            Some(ExtendedNumber::Integer(value)) => Ok(Some(value)),
            Some(ExtendedNumber::Float(value)) => match integral(value) {
                Some(value) => Ok(Some(value)),
                None => Err(FaultKind::NotInteger.into()),
            },
            None => Err(self.other_type("an integer")),
        }
    }

    /// Handles a float field whose value does not start like a number.
    #[cold]
    fn no_float(&mut self) -> Parsed<Option<f64>> {
        if self.null()? {
            return Ok(None);
        }
        match self.extended_number()? {
            #[expect(clippy::cast_precision_loss, reason = "parsing any number into a float rounds it")]
            Some(ExtendedNumber::Integer(value)) => in_range(value as f64).map(Some),
            Some(ExtendedNumber::Float(value)) => in_range(value).map(Some),
            None => Err(self.other_type("a number")),
        }
    }

    fn extended_number(&mut self) -> Parsed<Option<ExtendedNumber>> {
        if self.peek() == Some(b'{') { extended_json::number(self) } else { Ok(None) }
    }

    /// Parses a number. The cursor is at a digit or a minus.
    #[inline]
    pub(crate) fn number(&mut self) -> Parsed<Number<'a>> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        if bytes[self.at] == b'-' {
            self.at += 1;
        }
        match bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.syntax("malformed number")),
        }
        let mut integer = true;
        if bytes.get(self.at) == Some(&b'.') {
            integer = false;
            self.at += 1;
            self.some_digits()?;
        }
        let exponent = matches!(bytes.get(self.at), Some(b'e' | b'E'));
        if exponent {
            integer = false;
            self.at += 1;
            if let Some(b'+' | b'-') = bytes.get(self.at) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        if let Some(b'0'..=b'9') = bytes.get(self.at) {
            return Err(self.syntax("number with a leading zero"));
        }
        let text = &self.text[start..self.at];
        // Only a long number or one with an exponent can exceed the range of a float.
        if exponent || text.len() > DIGITS_MAX {
            self.plain = false;
            if text.parse().is_ok_and(f64::is_infinite) {
                return Err(FaultKind::Syntax { reason: "number out of range", byte: start }.into());
            }
        }
        Ok(Number { text, integer })
    }

    #[inline]
    fn digits(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(b'0'..=b'9') = bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Parsed<()> {
        let start = self.at;
        self.digits();
        if self.at == start {
            return Err(self.syntax("malformed number"));
        }
        Ok(())
    }
}

#[inline]
fn in_range(value: f64) -> Parsed<f64> {
    let size = value.abs();
    if size <= FLOAT_MAX && (size >= FLOAT_MIN || size == 0.0) {
        return Ok(value);
    }
    Err(FaultKind::ImplausibleNumber.into())
}

/// Converts a float with a whole value to an integer. Floats are exact up to 2^53.
fn integral(value: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let is_exact = value.fract() == 0.0 && value.abs() <= EXACT_MAX;
    #[expect(clippy::cast_possible_truncation, reason = "the value is a whole number of at most 53 bits")]
    is_exact.then_some(value as i64)
}
