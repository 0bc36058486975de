//! Database errors in a public form, without text of a statement error that may quote an event.

use crate::error_chain::{next_cause, own_text};
use postgres::error::DbError;
use std::error::Error;

/// An error and its causes, as [`in_full`](crate::error_chain::in_full) formats them, without the text of a statement
/// error: a trigger or constraint may put its input into it. The text of the server about a connection is included.
pub(crate) fn in_public(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(code) = statement_error(cause) {
            return format!("{text}{}", hidden(&code));
        }
        next = next_cause(cause);
        // Hints are for operators, not for readers of a public page.
        let Some((message, _)) = own_text(cause) else { continue };
        if !text.trim_end_matches(": ").ends_with(&message) {
            text = format!("{text}{message}: ");
        }
    }
    text.trim_end_matches(": ").to_owned()
}

/// The SQLSTATE of an error that ended a statement. The server itself sends those that end the connection.
fn statement_error(cause: &(dyn Error + 'static)) -> Option<String> {
    let of_client = cause.downcast_ref::<postgres::Error>().and_then(postgres::Error::as_db_error);
    let error: &DbError = of_client.or_else(|| cause.downcast_ref())?;
    let is_of_connection = matches!(error.severity(), "FATAL" | "PANIC");
    (!is_of_connection).then(|| error.code().code().to_owned())
}

fn hidden(code: &str) -> String {
    let what = match code {
        "53100" => "the server's disk is full, ",
        "25006" => "the database is read-only, ",
        "42501" => "permission denied, ",
        _ => "",
    };
    format!("{what}SQLSTATE {code}; the full message is on standard error of the load")
}
