//! Weighted and skewed choices. Invariant: all draws have a fixed width (never `usize`), so a seed gives the same
//! choices on every platform.

use fastrand::Rng;
use std::iter::repeat_n;
use std::str::FromStr;
use std::sync::OnceLock;

/// Values with weights. They are parsed from words `TEXT*WEIGHT` when first used; the weight is 1 if it is missing.
pub(crate) struct WordTable<T: 'static = &'static str> {
    words: &'static str,
    /// Makes the values of a text, each of which has the weight of the word.
    parse: fn(&'static str) -> Vec<T>,
    /// The values, and the index of each as often as its weight.
    parsed: OnceLock<(Vec<T>, Vec<usize>)>,
}

impl WordTable {
    /// A table of texts.
    pub(crate) const fn of(words: &'static str) -> Self {
        Self::new(words, |text| vec![text])
    }
}

impl<T: FromStr, const N: usize> WordTable<[T; N]> {
    /// A table of numbers with `-` between them.
    pub(crate) const fn of_numbers(words: &'static str) -> Self {
        Self::new(words, |text| {
            let numbers = text.split('-').map(str::parse).collect::<Result<Vec<T>, _>>();
            vec![numbers.ok().and_then(|list| list.try_into().ok()).expect("the text consists of numbers")]
        })
    }
}

impl<T> WordTable<T> {
    pub(crate) const fn new(words: &'static str, parse: fn(&'static str) -> Vec<T>) -> Self {
        Self { words, parse, parsed: OnceLock::new() }
    }

    fn parsed(&self) -> &(Vec<T>, Vec<usize>) {
        self.parsed.get_or_init(|| {
            let (mut values, mut slots) = (Vec::new(), Vec::new());
            for word in self.words.split_ascii_whitespace() {
                let (text, weight) = word.split_once('*').unwrap_or((word, "1"));
                let weight = weight.parse().expect("the weight is a number");
                for value in (self.parse)(text) {
                    slots.extend(repeat_n(values.len(), weight));
                    values.push(value);
                }
            }
            (values, slots)
        })
    }

    /// Draws a value according to the weights.
    pub(crate) fn pick(&self, rng: &mut Rng) -> &T {
        let (values, slots) = self.parsed();
        &values[*one_of(rng, slots)]
    }

    pub(crate) fn values(&self) -> &[T] {
        &self.parsed().0
    }
}

/// Draws a number below `limit`, with a preference for low ones: half of all draws are in the first quarter.
pub(crate) fn skewed(rng: &mut Rng, limit: u32) -> u32 {
    let fraction = u64::from(rng.u32(..));
    let squared = (fraction * fraction) >> 32;
    ((squared * u64::from(limit)) >> 32) as u32
}

/// True in `share` of 1,000 draws.
pub(crate) fn permille(rng: &mut Rng, share: u32) -> bool {
    rng.u32(..1000) < share
}

/// Draws an index of a list with `length` entries.
pub(crate) fn index(rng: &mut Rng, length: usize) -> usize {
    rng.u32(..u32::try_from(length).expect("the generator's lists are short")) as usize
}

/// Draws one of the values with equal probability.
pub(crate) fn one_of<'a, T>(rng: &mut Rng, values: &'a [T]) -> &'a T {
    &values[index(rng, values.len())]
}

/// Draws one of the values with a preference for the first ones.
pub(crate) fn one_of_skewed<'a, T>(rng: &mut Rng, values: &'a [T]) -> &'a T {
    &values[skewed(rng, u32::try_from(values.len()).expect("the generator's lists are short")) as usize]
}
