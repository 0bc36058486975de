//! `.env`: whose file it is, what its lines are, and which of them count.
//!
//! - Only settings of this program count. They are looked up here and never put into the process's environment, where a
//!   library or another program would read more than that.
//! - A file that another user could have written is not read.
//! - A line that is not understood is another program's, unless it names a setting.

#[cfg(test)]
mod tests;

use crate::database::connect::holds_password;
use crate::permissions::others_may;
use crate::settings::environment::{SettingError, unwrapped};
use crate::settings::variables::{is_listed, is_setting, meant};
use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::unistd::geteuid;
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// No file of settings is larger.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A value in quotes may have so many lines, such as a key in another program's `.env`.
const ENTRY_LINES_MAX: usize = 200;

/// The settings of a `.env`.
#[derive(Default)]
pub(crate) struct EnvFile {
    values: BTreeMap<String, String>,
    /// What to log once the log is there.
    pub warnings: Vec<String>,
}

impl EnvFile {
    /// Reads the file at `path`. One that is missing, or that is no regular file, has no settings.
    ///
    /// # Errors
    ///
    /// The file can't be read, another user could have written it, it has a line with a setting that is not understood, or it
    /// has a misspelled setting. `is_set` says which variables the environment has.
    pub(crate) fn read(path: &Path, is_set: &dyn Fn(&str) -> bool) -> Result<Self, SettingError> {
        let Some((file, metadata)) = open(path).map_err(SettingError::EnvFile)? else {
            return Ok(Self::default());
        };
        refuse_others(path, &metadata)?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(SettingError::EnvFile)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let words = format!("it is larger than {FILE_BYTES_MAX} bytes");
            return Err(SettingError::EnvFile(io::Error::new(io::ErrorKind::FileTooLarge, words)));
        }
        let mut found = Self::parse(&bytes, is_set)?;
        if others_may(&metadata, 0o444) && found.holds_password() {
            found.warnings.push(
                "the file .env holds a password, and other users can read it; to prevent that: chmod 600 .env".to_owned(),
            );
        }
        Ok(found)
    }

    /// A file of which nothing counts, and why.
    pub(crate) fn ignored(warning: String) -> Self {
        Self { warnings: vec![warning], ..Self::default() }
    }

    /// The value of a setting.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn holds_password(&self) -> bool {
        let is_password = |name: &str| ["PGPASSWORD", "PGSSLPASSWORD"].contains(&name);
        self.values.iter().any(|(name, value)| {
            is_password(name) && !value.is_empty()
                || name == "DATABASE_URL" && holds_password(unwrapped(value))
        })
    }

    fn parse(bytes: &[u8], is_set: &dyn Fn(&str) -> bool) -> Result<Self, SettingError> {
        let (entries, odd) = entries(bytes)?;
        let mut found = Self::default();
        let mut others = Vec::new();
        // Together, as a value may have that of an earlier line in it.
        for (name, value) in dotenvy::from_read_iter(entries.as_bytes()).flatten() {
            if is_setting(&name) {
                found.values.insert(name.clone(), value);
            }
            others.push(name);
        }
        for name in others {
            // Where the right one is set as well, it is another program's.
            if let Some(meant) =
                meant(&name).filter(|meant| !found.values.contains_key(meant) && !is_set(meant))
            {
                return Err(SettingError::Misspelled { name, meant });
            }
        }
        if !odd.is_empty() {
            let lines: Vec<String> = odd.iter().map(usize::to_string).collect();
            let (word, verb) = if odd.len() == 1 { ("line", "is") } else { ("lines", "are") };
            found.warnings.push(format!(
                "{word} {} of the file .env {verb} not NAME=value and {verb} ignored",
                lines.join(", ")
            ));
        }
        Ok(found)
    }
}

/// Values may be passwords.
impl std::fmt::Debug for EnvFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnvFile").field("names", &self.values.keys()).finish_non_exhaustive()
    }
}

/// Names in the environment that are probably misspelled settings, as warnings.
pub(crate) fn misspelled_variables(file: &EnvFile) -> Vec<String> {
    let names: Vec<String> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    let is_set = |meant: &str| names.iter().any(|name| name == meant) || file.get(meant).is_some();
    let odd = names.iter().filter_map(|name| Some((name, meant(name).filter(|meant| !is_set(meant))?)));
    odd.map(|(name, meant)| format!("the variable {name} is no setting and is ignored; {meant} is one"))
        .collect()
}

/// The regular file at `path`, if there is one. Nothing else is opened to be read, as a FIFO would hang.
fn open(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    let is_absent =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    }
    // Something else may stand there by now.
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(path)?;
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then_some((file, metadata)))
}

/// Refuses a file, or a link to one, that another user could have put there.
fn refuse_others(path: &Path, file: &Metadata) -> Result<(), SettingError> {
    let link = fs::symlink_metadata(path).map_err(SettingError::EnvFile)?;
    for uid in [file.uid(), link.uid()] {
        if uid != 0 && uid != geteuid().as_raw() {
            return Err(SettingError::EnvFileOwner { uid });
        }
    }
    if others_may(file, 0o222) {
        Err(SettingError::EnvFileMode { mode: file.mode() & 0o777 })
    } else {
        Ok(())
    }
}

/// The lines that can be read, each by itself, and the numbers of those that can't and name no setting.
fn entries(bytes: &[u8]) -> Result<(String, Vec<usize>), SettingError> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let (mut good, mut odd) = (String::new(), Vec::new());
    let mut at = 0;
    while at < lines.len() {
        let first = lines[at].trim_ascii_start();
        let length = if first.is_empty() || first.starts_with(b"#") { 1 } else { entry_length(&lines[at..]) };
        match (first.first(), length) {
            (None | Some(b'#'), _) => {}
            (_, 0) if names_setting(first) => return Err(SettingError::EnvFileLine { line: at + 1 }),
            (_, 0) => odd.push(at + 1),
            // It can be read, and so is text.
            _ => good.push_str(&String::from_utf8_lossy(&lines[at..at + length].concat())),
        }
        if !good.is_empty() && !good.ends_with('\n') {
            good.push('\n');
        }
        at += length.max(1);
    }
    Ok((good, odd))
}

/// How many lines make the entry that these begin with: more than one where a quote stays open. 0: it can't be read.
fn entry_length(lines: &[&[u8]]) -> usize {
    let mut text = Vec::new();
    for (count, line) in lines.iter().enumerate().take(ENTRY_LINES_MAX) {
        // A quote that was forgotten must not swallow a setting.
        if count > 0 && (names_setting(lines[0].trim_ascii_start()) || names_setting(line.trim_ascii_start()))
        {
            return 0;
        }
        text.extend_from_slice(line);
        // No variable can hold a NUL.
        let is_text = str::from_utf8(&text).is_ok() && !text.contains(&0);
        let mut read = dotenvy::from_read_iter(text.as_slice());
        if is_text && matches!((read.next(), read.next()), (Some(Ok(_)), None)) {
            return count + 1;
        }
        if !line.contains(&b'\'') && !line.contains(&b'"') && count == 0 {
            return 0;
        }
    }
    0
}

/// Whether a line begins with the name of a setting, as well as can be said of one that is not understood.
fn names_setting(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let text = text
        .strip_prefix("export")
        .filter(|rest| rest.starts_with([' ', '\t']))
        .unwrap_or(&text)
        .trim_start();
    let end =
        text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    is_listed(name) && (rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n', '=', ':']))
}
