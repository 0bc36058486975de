//! Parses connection strings, in both of libpq's forms, into names and values. No error contains a value, because
//! each may be a password.

use crate::database::connect::error::TargetError;
use percent_encoding::percent_decode_str;

/// Names and values in the order of the string. The last value of a name counts.
pub(crate) type Pairs = Vec<(String, String)>;

const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];

/// Reads `postgresql://…` or `name=value name='value'`.
pub(crate) fn parse(text: &str) -> Result<Pairs, TargetError> {
    if let Some(rest) = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        return url(rest);
    }
    if let Some((why, remedy)) = mistake(text) {
        return Err(TargetError::Mistake { why: why.to_owned(), remedy });
    }
    let is_scheme = |scheme: &str| {
        scheme.bytes().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, b'+' | b'-' | b'.'))
    };
    match text.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => {
            Err(fault(format!("it begins with {scheme}://, not with postgresql://")))
        }
        _ => pairs(text),
    }
}

/// The fault and the remedy of texts that are often pasted in place of a URL. They may contain a password, so no part
/// of them is shown.
fn mistake(text: &str) -> Option<(&'static str, &'static str)> {
    const POSTGRES: &str =
        "set it to the URL of a PostgreSQL database: postgresql://user:password@host:5432/database";
    const STARTS: [(&str, &str, &str); 9] = [
        (
            "jdbc:",
            "it is a JDBC URL",
            "remove 'jdbc:' from its start, and put user and password before the host: \
                                       postgresql://user:password@host:5432/database",
        ),
        ("DATABASE_URL=", "it starts with 'DATABASE_URL='", "remove 'DATABASE_URL=' from its start"),
        ("export ", "it starts with 'export'", "remove everything before postgresql://"),
        ("psql ", "it is a command", "remove everything before postgresql://"),
        ("file:", "it is an SQLite URL", POSTGRES),
        ("sqlite:", "it is an SQLite URL", POSTGRES),
        ("mysql://", "it is a MySQL URL", POSTGRES),
        ("prisma://", "it is a URL of Prisma Accelerate", POSTGRES),
        ("prisma+postgres://", "it is a URL of Prisma Accelerate or 'prisma dev'", POSTGRES),
    ];
    if let Some((_, why, remedy)) = STARTS.iter().find(|(start, ..)| text.starts_with(start)) {
        return Some((why, remedy));
    }
    if text.starts_with(['"', '\'', '`', '\u{201c}']) {
        return Some(("it has quotes around it", "remove the quotes, which 'docker --env-file' keeps"));
    }
    let lacks_separator =
        ["postgresql:", "postgres:", "postgresql/", "postgres/"].iter().any(|start| text.starts_with(start));
    if lacks_separator {
        return Some((
            "it lacks :// after postgresql",
            "write postgresql://user:password@host:5432/database",
        ));
    }
    let has_place = !text.contains('=') && !text.contains("://") && text.contains([':', '/', '@']);
    has_place.then_some(("it does not start with postgresql://", "put postgresql:// before it"))
}

/// Whether the name of a parameter may be part of a password: of one with a `?`, which ended too early, or of one
/// with spaces and without quotes.
pub(crate) fn may_be_password(text: &str, name: &str) -> bool {
    match text.split_once("://") {
        Some((_, rest)) => {
            let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
            query.contains('@') && !base.contains('@')
        }
        None => text.find("password").is_some_and(|at| text[at..].contains(name)),
    }
}

fn fault(why: impl Into<String>) -> TargetError {
    TargetError::Text { why: why.into() }
}

/// `user:password@host:port,host:port/database?name=value&name=value`
fn url(rest: &str) -> Result<Pairs, TargetError> {
    let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = base.split_once('/').unwrap_or((base, ""));
    let misplaced = |part: &str| part.split('=').next().is_some_and(|name| name.contains('@'));
    if database.contains('@') || query.split('&').any(misplaced) {
        return Err(fault("misplaced '@'; in a password, write / as %2F and ? as %3F"));
    }
    let mut found = Pairs::new();
    let mut add = |name: &str, value: &str| -> Result<(), TargetError> {
        if !value.is_empty() {
            found.push((name.to_owned(), decode(name, value)?));
        }
        Ok(())
    };
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    add("user", user)?;
    add("password", password)?;
    add("dbname", database)?;
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) = host_and_port(host)?;
        names.push(name);
        ports.push(port);
    }
    for (name, values) in [("host", names), ("port", ports)] {
        if values.iter().any(|value| !value.is_empty()) {
            add(name, &values.join(","))?;
        }
    }
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        // The name may be a part of a password, so it is not shown.
        let (name, value) =
            parameter.split_once('=').ok_or_else(|| fault("a parameter has no '=' after its name"))?;
        found.push((name.to_owned(), decode("a parameter", value)?));
    }
    Ok(found)
}

fn host_and_port(host: &str) -> Result<(&str, &str), TargetError> {
    let (name, port) = match host.strip_prefix('[') {
        Some(address) => {
            let (address, rest) =
                address.split_once(']').ok_or_else(|| fault("an IPv6 address lacks its ']'"))?;
            (address, rest.strip_prefix(':').unwrap_or(rest))
        }
        None => host.rsplit_once(':').unwrap_or((host, "")),
    };
    // The name is then a login with its host, or the end of one. The directory of a socket begins with a slash.
    if name.contains("%40") && !name.starts_with("%2") {
        return Err(fault("the '@' before the host is percent-encoded; write it as it is"));
    }
    // The text may be a misplaced password, so it is not shown.
    if !port.bytes().all(|letter| letter.is_ascii_digit()) {
        return Err(fault("invalid port after a host, expected a number from 1 to 65535"));
    }
    Ok((name, port))
}

fn decode(name: &str, value: &str) -> Result<String, TargetError> {
    let is_escape = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !value.split('%').skip(1).all(is_escape) {
        return Err(fault(format!(
            "{name} has a '%' without two hex digits after it; write a literal % as %25"
        )));
    }
    let decoded = percent_decode_str(value).decode_utf8();
    match decoded {
        Ok(decoded) if decoded.contains('\0') => {
            Err(fault(format!("{name} holds a NUL (%00), which is never allowed")))
        }
        Ok(decoded) => Ok(decoded.into()),
        Err(_) => Err(fault(format!("{name} is not UTF-8 after percent-decoding"))),
    }
}

/// `name=value name='value'`, with `\` before a quote or a `\`.
fn pairs(text: &str) -> Result<Pairs, TargetError> {
    if !text.trim().is_empty() && !text.contains('=') {
        return Err(fault("it is neither a URL nor a list such as host=localhost dbname=kills"));
    }
    let mut found = Pairs::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(|| fault("a name has no '=' after it"))?;
        let (value, after) = pair_value(after.trim_start())?;
        found.push((name.trim_end().to_owned(), value));
        rest = after.trim_start();
    }
    if found.is_empty() { Err(fault("it is empty")) } else { Ok(found) }
}

fn pair_value(text: &str) -> Result<(String, &str), TargetError> {
    let (quoted, text) = match text.strip_prefix('\'') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            letter if !quoted && letter.is_whitespace() => return Ok((value, &text[at..])),
            letter => value.push(letter),
        }
    }
    if quoted { Err(fault("a quoted value has no end")) } else { Ok((value, "")) }
}
