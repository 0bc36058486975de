//! Reads passwords by host, port, database and user from `~/.pgpass`, as libpq does.

use crate::error_chain::system_text;
use crate::file_system::permissions::is_of_another;
use nix::libc::{O_NOCTTY, O_NONBLOCK};
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The connection that needs a password.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Login<'l> {
    /// `localhost` for a Unix socket in a default directory.
    pub(crate) host: &'l str,
    pub(crate) port: u16,
    pub(crate) database: &'l str,
    pub(crate) user: &'l str,
}

#[derive(Default)]
pub(crate) struct PasswordFile {
    text: String,
}

impl PasswordFile {
    /// Reads the file if it exists. As in libpq, a fault of the file is a warning.
    pub(crate) fn read(path: &Path, warnings: &mut Vec<String>) -> Self {
        let name = path.display();
        // Opening a FIFO must not block.
        let opened = OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(path);
        let text = opened.and_then(|mut file| {
            let found = file.metadata()?;
            let mut text = String::new();
            if !found.is_file() {
                warnings.push(format!("the password file {name} is ignored: it is not a regular file"));
            } else if found.mode() & 0o077 != 0 {
                warnings.push(format!(
                    "the password file {name} is ignored: other users can read it; run: chmod 600 {name}"
                ));
            } else if is_of_another(&found) {
                warnings.push(format!(
                    "the password file {name} is ignored: it belongs to another user (id {}); run as that user, or run: \
                     chown \"$(id -u)\" {name}",
                    found.uid()
                ));
            } else {
                file.read_to_string(&mut text)?;
            }
            Ok(text)
        });
        match text {
            Ok(text) => Self { text },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                warnings.push(format!("cannot read the password file {name}: {}", system_text(&error)));
                Self::default()
            }
        }
    }

    /// The password of the first matching line.
    pub(crate) fn password(&self, login: Login<'_>) -> Option<String> {
        let port = login.port.to_string();
        let wanted = [login.host, &port, login.database, login.user];
        self.text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
            let mut fields = fields(line);
            let fits = wanted.iter().all(|wanted| {
                let field = fields.next();
                field.is_some_and(|(raw, field)| raw == "*" || field == *wanted)
            });
            if fits { fields.next().map(|(_, password)| password) } else { None }
        })
    }
}

/// The fields of a line, each as written and without its escapes: `\:` is a colon, `\\` a backslash.
fn fields(line: &str) -> impl Iterator<Item = (&str, String)> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut field = String::new();
        let mut letters = text.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' => field.extend(letters.next().map(|(_, letter)| letter)),
                ':' => {
                    rest = Some(&text[at + 1..]);
                    return Some((&text[..at], field));
                }
                letter => field.push(letter),
            }
        }
        rest = None;
        Some((text, field))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_first_line_that_fits() {
        let file = PasswordFile {
            text: "# db:5432:kills:me:comment\nshort:5432\ndb:5432:kills:me:p\\:a\\\\ss\ndb:*:*:me:any\n\
                   fe80\\:\\:1:5432:*:*:six\n\\*:*:*:star:literal\n*:5433:*:*:last"
                .to_owned(),
        };
        let password = |host, port, database, user| file.password(Login { host, port, database, user });
        assert_eq!(password("db", 5432, "kills", "me").as_deref(), Some("p:a\\ss"));
        assert_eq!(password("db", 5433, "kills", "me").as_deref(), Some("any"));
        assert_eq!(password("fe80::1", 5432, "kills", "you").as_deref(), Some("six"));
        assert_eq!(password("db", 5433, "kills", "you").as_deref(), Some("last"));
        assert_eq!(password("db", 1, "kills", "star"), None);
        assert_eq!(password("short", 5432, "kills", "me"), None);
    }

    #[test]
    fn a_file_that_others_can_read_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pgpass");
        fs::write(&path, "*:*:*:*:secret\n").unwrap();
        let login = Login { host: "db", port: 5432, database: "kills", user: "me" };
        for (mode, used) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let mut warnings = Vec::new();
            let file = PasswordFile::read(&path, &mut warnings);
            assert_eq!(file.password(login).is_some(), used, "{mode:o}");
            assert_eq!(warnings.iter().any(|warning| warning.contains("chmod 600")), !used, "{warnings:?}");
        }
        let mut warnings = Vec::new();
        PasswordFile::read(&directory.path().join("none"), &mut warnings);
        assert!(warnings.is_empty());
        PasswordFile::read(directory.path(), &mut warnings);
        assert!(warnings[0].contains("not a regular file"), "{warnings:?}");
    }

    /// Only root can read such a file, and its passwords could make root log in as someone else.
    #[test]
    fn a_file_of_another_user_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pgpass");
        fs::write(&path, "*:*:*:*:secret\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if std::os::unix::fs::chown(&path, Some(47_110), None).is_err() {
            return;
        }
        let mut warnings = Vec::new();
        let file = PasswordFile::read(&path, &mut warnings);
        assert!(file.text.is_empty() && warnings[0].contains("another user (id 47110)"), "{warnings:?}");
    }
}
