//! Weighted and skewed choices. Invariant: all draws have a fixed width (never `usize`), so a seed gives the same
//! choices on every platform.

use fastrand::Rng;

/// Weighted values. A draw takes one random number and one lookup.
pub(crate) struct Wheel<T> {
    values: Vec<T>,
    size: u32,
}

impl<T: Copy> Wheel<T> {
    /// Makes a wheel of values and weights, at least one of which is above 0.
    pub(crate) fn new(weighted: impl IntoIterator<Item = (T, u32)>) -> Self {
        let mut values = Vec::new();
        let mut size = 0;
        for (value, weight) in weighted {
            values.extend((0..weight).map(|_| value));
            size += weight;
        }
        assert!(size > 0, "a wheel has at least one value");
        Self { values, size }
    }

    pub(crate) fn pick(&self, rng: &mut Rng) -> T {
        self.values[rng.u32(..self.size) as usize]
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

/// Draws one of the values with equal probability.
pub(crate) fn one_of<'a, T>(rng: &mut Rng, values: &'a [T]) -> &'a T {
    let size = u32::try_from(values.len()).expect("tables of the generator are short");
    &values[rng.u32(..size) as usize]
}

/// Draws 16 bytes in the form of a version 4 UUID, like the ids of the game.
pub(crate) fn uuid_bytes(rng: &mut Rng) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&rng.u64(..).to_be_bytes());
    bytes[8..].copy_from_slice(&rng.u64(..).to_be_bytes());
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}
