//! Reads `.env`.
//!
//! - Only settings of this program are used. They never enter the process environment, which libraries and child processes
//!   read.
//! - A file that another user could have written is not read.
//! - An invalid line belongs to another program, unless it names a setting.

#[cfg(test)]
mod tests;

use crate::database::connect::holds_password;
use crate::file_system::permissions::{is_of_another, others_may};
use crate::settings::environment::{SettingError, unwrapped};
use crate::settings::variables::{is_listed, is_setting, is_unknown, meant};
use nix::libc::{O_NOCTTY, O_NONBLOCK};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The maximum size of the file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The maximum number of lines of a quoted value, such as another program's key.
const ENTRY_LINES_MAX: usize = 200;

#[derive(Default)]
pub(crate) struct EnvFile {
    values: BTreeMap<String, String>,
    /// Warnings to log after the log has started.
    pub warnings: Vec<String>,
}

impl EnvFile {
    /// Reads the file at `path`. A missing or irregular file has no settings, and the latter causes a warning. `is_set`
    /// reports whether the environment has a variable. It is an error if the file cannot be read, another user could have
    /// written it, an invalid line names a setting, or a setting is misspelled.
    pub(crate) fn read(path: &Path, is_set: &dyn Fn(&str) -> bool) -> Result<Self, SettingError> {
        let Some((file, metadata)) = open(path).map_err(SettingError::EnvFile)? else {
            return Ok(irregular(path).map_or_else(Self::default, |kind| {
                Self::ignored(format!(
                    "the file .env is {kind}, so it is not read; export the variables instead"
                ))
            }));
        };
        check_owner(path, &metadata)?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(SettingError::EnvFile)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let cause = format!("it is larger than {FILE_BYTES_MAX} bytes");
            return Err(SettingError::EnvFile(io::Error::new(io::ErrorKind::FileTooLarge, cause)));
        }
        let mut found = Self::parse(&bytes, is_set)?;
        if others_may(&metadata, 0o444) && found.holds_password() {
            found.warnings.push(
                "the file .env holds a password, and other users can read it; run: chmod 600 .env".to_owned(),
            );
        }
        Ok(found)
    }

    /// A file without settings, with the reason as a warning.
    pub(crate) fn ignored(warning: String) -> Self {
        Self { warnings: vec![warning], ..Self::default() }
    }

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
        let (mut others, mut repeated) = (Vec::new(), BTreeSet::new());
        // All entries at once, because a value can refer to an earlier one.
        for (name, value) in dotenvy::from_read_iter(entries.as_bytes()).flatten() {
            if is_setting(&name) {
                let earlier = found.values.insert(name.clone(), value);
                let is_changed = earlier.is_some_and(|earlier| found.get(&name) != Some(&*earlier));
                if is_changed && is_listed(&name) {
                    repeated.insert(name.clone());
                }
            }
            others.push(name);
        }
        // The environment overrides the file.
        for name in repeated.iter().filter(|name| !is_set(name)) {
            let warning = format!("the file .env sets {name} to different values, and the last one is used");
            found.warnings.push(warning);
        }
        for name in others {
            // If the correct name is set as well, this one belongs to another program.
            if let Some(meant) =
                meant(&name).filter(|meant| !found.values.contains_key(meant) && !is_set(meant))
            {
                return Err(SettingError::Misspelled { name, meant });
            }
            if is_unknown(&name) {
                found
                    .warnings
                    .push(format!("the file .env sets {name}, which is not a setting and is ignored"));
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

/// Hides the values, because they can be passwords.
impl std::fmt::Debug for EnvFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnvFile").field("names", &self.values.keys()).finish_non_exhaustive()
    }
}

/// Warnings about misspelled and unknown settings in the environment.
pub(crate) fn misspelled_variables(file: &EnvFile) -> Vec<String> {
    let names: Vec<String> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    let is_set = |meant: &str| names.iter().any(|name| name == meant) || file.get(meant).is_some();
    let warning = |name: &String| {
        let ignored = format!("the variable {name} is not a setting and is ignored");
        match meant(name).filter(|meant| !is_set(meant)) {
            Some(meant) => Some(format!("{ignored}; did you mean {meant}?")),
            None => is_unknown(name).then_some(ignored),
        }
    };
    names.iter().filter_map(warning).collect()
}

/// Opens the regular file at `path`, if there is one. Opening a FIFO would hang.
fn open(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    let is_absent =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    }
    // The path may have been replaced meanwhile.
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(path)?;
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then_some((file, metadata)))
}

/// The kind of an existing file that is not regular. None for `/dev/null`, which stands for an empty file.
fn irregular(path: &Path) -> Option<&'static str> {
    let found = fs::metadata(path).ok()?;
    let kind = found.file_type();
    let is_null = || fs::metadata("/dev/null").is_ok_and(|null| null.rdev() == found.rdev());
    if kind.is_file() || kind.is_char_device() && is_null() {
        None
    } else if kind.is_dir() {
        Some("a directory")
    } else if kind.is_fifo() {
        Some("a FIFO")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a device")
    }
}

/// Rejects a file or a link that another user could have created.
fn check_owner(path: &Path, file: &Metadata) -> Result<(), SettingError> {
    let link = fs::symlink_metadata(path).map_err(SettingError::EnvFile)?;
    if let Some(found) = [file, &link].into_iter().find(|found| is_of_another(found)) {
        return Err(SettingError::EnvFileOwner { uid: found.uid() });
    }
    if others_may(file, 0o222) {
        Err(SettingError::EnvFileMode { mode: file.mode() & 0o777 })
    } else {
        Ok(())
    }
}

/// Returns the valid entries, and the line numbers of invalid entries that name no setting.
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
            // A valid entry is UTF-8.
            _ => good.push_str(&String::from_utf8_lossy(&lines[at..at + length].concat())),
        }
        if !good.is_empty() && !good.ends_with('\n') {
            good.push('\n');
        }
        at += length.max(1);
    }
    Ok((good, odd))
}

/// The number of lines of the first entry, more than one if a quote stays open; 0 if it is invalid.
fn entry_length(lines: &[&[u8]]) -> usize {
    let mut text = Vec::new();
    for (count, line) in lines.iter().enumerate().take(ENTRY_LINES_MAX) {
        // A missing quote must not swallow a setting.
        if count > 0 && (names_setting(lines[0].trim_ascii_start()) || names_setting(line.trim_ascii_start()))
        {
            return 0;
        }
        text.extend_from_slice(line);
        // No variable can contain a NUL.
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

/// Whether an invalid line seems to begin with the name of a setting.
fn names_setting(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let text = text
        .strip_prefix("export")
        .filter(|following| following.starts_with([' ', '\t']))
        .unwrap_or(&text)
        .trim_start();
    let end =
        text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(text.len());
    let (name, following) = text.split_at(end);
    is_listed(name) && (following.is_empty() || following.starts_with([' ', '\t', '\r', '\n', '=', ':']))
}
