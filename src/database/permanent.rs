//! Whether a failure of the database is one that no other try ends.

use super::classify::{ErrorClass, classify};
use super::error::DatabaseError;
use super::gate::GateError;
use super::store::StoreError;
use std::error::Error;

impl StoreError {
    /// Whether the database refuses for a reason that does not pass by itself: the login, privileges, names, tables that do not
    /// fit. An outage, and what was tried in vain again and again, may pass.
    pub fn is_permanent(&self) -> bool {
        let mut next: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = next {
            if let Some(answer) = decide(error) {
                return answer;
            }
            next = error.source();
        }
        false
    }
}

/// None where its cause decides.
fn decide(error: &(dyn Error + 'static)) -> Option<bool> {
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return error.is_marked_refused().then_some(true);
    }
    if let Some(error) = error.downcast_ref::<GateError>() {
        return match error {
            GateError::GivenUp | GateError::AwayTooLong(..) => Some(false),
            GateError::Fatal(_) => Some(true),
        };
    }
    if let Some(error) = error.downcast_ref::<DatabaseError>() {
        return match error {
            // It speaks for the error that it holds, and names that one's cause as its own.
            DatabaseError::Told(error) => Some(error.is_permanent()),
            // It is the caller's wish, or the machine that the program runs on.
            DatabaseError::GivenUp | DatabaseError::NoneFree(_) | DatabaseError::Thread(_) => Some(false),
            error => Some(error.class() == ErrorClass::Fatal),
        };
    }
    error.downcast_ref::<postgres::Error>().map(|error| classify(error) == ErrorClass::Fatal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::time::Duration;

    #[test]
    fn permanent_failures() {
        let away = || DatabaseError::Io(io::ErrorKind::ConnectionReset.into());
        for (error, expected) in [
            (StoreError::plain("something"), false),
            (StoreError::refused("the tables do not fit"), true),
            (StoreError::given_up("told to stop"), false),
            (StoreError::new("looking failed", away()), false),
            (StoreError::new("looking failed", DatabaseError::Told(StoreError::refused("no table"))), true),
            (StoreError::new("looking failed", GateError::AwayTooLong(Duration::ZERO, None)), false),
            (StoreError::new("looking failed", GateError::Fatal(away().into())), true),
            (StoreError::new("looking failed", DatabaseError::Thread("none".to_owned())), false),
        ] {
            assert_eq!(error.is_permanent(), expected, "{error:?}");
        }
    }
}
