//! Retry policy as plain data. The jitter is an argument and the caller waits, so tests need neither chance nor
//! sleep.

use std::time::Duration;

/// The number of attempts, and the delays between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The number of attempts, including the first one; at least 1.
    pub attempts_max: u32,
    /// The delay before the second attempt. Each further delay is twice as long.
    pub delay_base: Duration,
    /// The longest delay.
    pub delay_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts_max: 5, delay_base: Duration::from_millis(500), delay_max: Duration::from_secs(15) }
    }
}

impl RetryPolicy {
    /// The delay after `attempt` failed attempts. `jitter`, from 0 to 1, spreads the callers over the upper half of
    /// the delay, so that they do not return all at once.
    pub fn delay(&self, attempt: u32, jitter: f64) -> Duration {
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
        let whole = self.delay_base.saturating_mul(doubled).min(self.delay_max);
        whole.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let policy = RetryPolicy::default();
        let whole: Vec<u128> = (1..=7).map(|attempt| policy.delay(attempt, 1.0).as_millis()).collect();
        assert_eq!(whole, [500, 1000, 2000, 4000, 8000, 15000, 15000]);
        assert_eq!(policy.delay(1, 0.0).as_millis(), 250);
        assert_eq!(policy.delay(u32::MAX, 1.0), policy.delay_max);
    }
}
