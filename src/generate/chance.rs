//! Weighted and skewed choices. Invariant: only draws of fixed width are used (never `usize`), so that
//! a seed gives the same choices on every platform.

use fastrand::Rng;

/// Values to draw from, each as often as its weight says. A draw is one random number and one look-up.
pub(crate) struct Wheel<T> {
    values: Vec<T>,
    size: u32,
}

impl<T: Copy> Wheel<T> {
    /// A wheel of these values and weights; at least one weight is above 0.
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

    /// Draws a value.
    pub(crate) fn pick(&self, rng: &mut Rng) -> T {
        self.values[rng.u32(..self.size) as usize]
    }
}

/// A number below `limit`, low ones more often: half of all draws are in the first quarter.
pub(crate) fn skewed(rng: &mut Rng, limit: u32) -> u32 {
    let fraction = u64::from(rng.u32(..));
    let squared = (fraction * fraction) >> 32;
    ((squared * u64::from(limit)) >> 32) as u32
}

/// True in `share` of a thousand draws.
pub(crate) fn permille(rng: &mut Rng, share: u32) -> bool {
    rng.u32(..1000) < share
}

/// One of the values, all equally often.
pub(crate) fn one_of<'a, T>(rng: &mut Rng, values: &'a [T]) -> &'a T {
    let size = u32::try_from(values.len()).expect("tables of the generator are short");
    &values[rng.u32(..size) as usize]
}

/// 16 random bytes in the form of a version 4 UUID, which the game's ids are.
pub(crate) fn uuid_bytes(rng: &mut Rng) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&rng.u64(..).to_be_bytes());
    bytes[8..].copy_from_slice(&rng.u64(..).to_be_bytes());
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}
