//! Makes the cluster: whole, or not at all.
//!
//! - `DIR/data` appears by one rename, when the cluster is complete, its settings and its database included, and on disk.
//! - What an attempt that was cut short left behind is removed by the next.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use crate::embedded::directory::{Directory, StartLock, make_private_directory};
use crate::embedded::error::{At, EmbeddedError};
use crate::embedded::program::run;
use crate::embedded::programs::Programs;
use crate::embedded::socket::{DATABASE, USER};

/// The locale is the same on every machine: a comparison is that of bytes, upper and lower case are Unicode's where
/// the system knows C.UTF-8, which not all do.
const LOCALES: [&str; 2] = ["C.UTF-8", "C"];

/// Settings for loading, for the user to change. None of them makes a commit less durable.
const SETTINGS: &str = "
# Written once, when this private PostgreSQL was made for loading kill dumps; change it as you like.
# A load writes gigabytes of WAL. With the defaults, 1 GB and 5 minutes, it would force checkpoint after checkpoint, each of
# which makes pages be logged in full again.
max_wal_size = 4GB
checkpoint_timeout = 15min
# Building indexes on a large table sorts in memory up to this size.
maintenance_work_mem = 256MB
";

/// Makes the cluster of `directory` if it has none.
pub(crate) fn make(
    directory: &Directory,
    programs: &Programs,
    start: &StartLock,
) -> Result<(), EmbeddedError> {
    let data = directory.data_new();
    log::info!("making a private PostgreSQL {} in {}", programs.version(), directory.dir().display());
    let mut made = Ok(());
    for locale in LOCALES {
        remove_directory(&data)?;
        made = initialize(directory, programs, start, locale);
        if made.is_ok() {
            break;
        }
        log::debug!("no cluster with locale {locale}");
    }
    made?;
    add_settings(&data.join("postgresql.conf"))?;
    create_database(directory, programs, start)?;
    fs::rename(&data, directory.data()).at("rename", &data)?;
    // The rename itself must outlast a loss of power.
    File::open(directory.dir()).and_then(|dir| dir.sync_all()).at("sync", directory.dir())
}

fn initialize(
    directory: &Directory,
    programs: &Programs,
    start: &StartLock,
    locale: &str,
) -> Result<(), EmbeddedError> {
    let data = directory.data_new();
    make_private_directory(&data, directory.account())?;
    let mut command = directory.account().command(&programs.program("initdb"));
    command.arg("--pgdata").arg(&data);
    command.args(["--username", USER, "--encoding=UTF8"]).arg(format!("--locale={locale}"));
    // The socket's directory keeps others out. Should somebody make the server listen on the network, that does not let them in.
    command.args(["--auth-local=trust", "--auth-host=reject"]);
    run(command, "initdb", directory, start)
}

fn add_settings(file: &Path) -> Result<(), EmbeddedError> {
    let mut options = OpenOptions::new();
    let mut conf = options.append(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(file).at("open", file)?;
    conf.write_all(SETTINGS.as_bytes()).and_then(|()| conf.sync_all()).at("write", file)
}

/// Makes the database without a server, so that it is there as soon as the cluster is.
fn create_database(
    directory: &Directory,
    programs: &Programs,
    start: &StartLock,
) -> Result<(), EmbeddedError> {
    // The shell writes the statement, as its own input is the start lock. An error must end it, or it would go unnoticed.
    let mut command = directory.account().command(Path::new("/bin/sh"));
    command
        .args(["-c", r#"echo "$1" | "$2" --single -D "$3" -c exit_on_error=on postgres"#, "sh"])
        .arg(format!("create database {DATABASE};"))
        .arg(programs.program("postgres"))
        .arg(directory.data_new());
    run(command, "postgres", directory, start)
}

fn remove_directory(path: &Path) -> Result<(), EmbeddedError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    }
}
