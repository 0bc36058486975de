//! An error of the database for all to see: without what a statement's error may quote of an event.

use crate::error_chain::concealed;
use std::error::Error;

/// An error and its causes, as [`in_full`](crate::error_chain::in_full) tells them, but for the words of a statement's error: a trigger or a
/// constraint may put into them what it was given. What the server says of a connection is told.
pub(crate) fn in_public(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(code) = statement_error(cause) {
            return concealed(&format!("{text}{}", hidden(&code)));
        }
        let words = cause.to_string();
        // A hint is for who can change something.
        let words = words.split("\nhint: ").next().unwrap_or_default();
        if !text.trim_end_matches(": ").ends_with(words) {
            text = format!("{text}{words}: ");
        }
        next = cause.source();
    }
    concealed(text.trim_end_matches(": "))
}

/// The SQLSTATE of an error that a statement ended with. Those that end the connection are the server's own.
fn statement_error(cause: &(dyn Error + 'static)) -> Option<String> {
    let error = cause.downcast_ref::<postgres::Error>()?.as_db_error()?;
    let is_of_connection = matches!(error.severity(), "FATAL" | "PANIC");
    (!is_of_connection).then(|| error.code().code().to_owned())
}

fn hidden(code: &str) -> String {
    let what = match code {
        "53100" => "its disk is full, ",
        "25006" => "it is read-only, ",
        "42501" => "the role lacks a right, ",
        _ => "",
    };
    format!("{what}SQLSTATE {code}; its words are where the load was started")
}
