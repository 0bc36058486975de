//! Creates the cluster atomically.
//!
//! - A rename creates `DIR/data` when the cluster is complete, with settings and database, and synced to disk.
//! - The next attempt removes the remains of an interrupted one.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::embedded::directory::{Directory, StartLock, if_exists, make_private_directory, own_options};
use crate::embedded::error::{At, EmbeddedError};
use crate::embedded::program::run;
use crate::embedded::programs::Programs;
use crate::embedded::socket::{DATABASE, USER};
use crate::file_system::durable::sync_directory;

/// The same locale on every machine. Text is compared by bytes. Upper and lower case follow Unicode if the system has
/// C.UTF-8, which not all have.
const LOCALES: [&str; 2] = ["C.UTF-8", "C"];

/// Initial settings for loading. The user can change them. None of them makes a commit less durable.
const SETTINGS: &str = "
# Written once, when aegis-kills created this private PostgreSQL for kill dumps. You can change these settings.
# A load writes gigabytes of WAL. With the defaults, 1 GB and 5 minutes, it would force frequent checkpoints. After each
# checkpoint, PostgreSQL logs changed pages in full again.
max_wal_size = 4GB
checkpoint_timeout = 15min
# An index build on a large table sorts in memory up to this size.
maintenance_work_mem = 256MB
";

/// Creates the cluster of `directory`, which has none.
pub(crate) fn make(
    directory: &Directory,
    programs: &Programs,
    start: &StartLock,
) -> Result<(), EmbeddedError> {
    let data = directory.data_new();
    log::info!("creating a private PostgreSQL {} in {}", programs.version(), directory.dir().display());
    let mut made = Ok(());
    for locale in LOCALES {
        if_exists(fs::remove_dir_all(&data)).at("remove", &data)?;
        made = initialize(directory, programs, start, locale);
        if made.is_ok() {
            break;
        }
        log::debug!("initdb failed with locale {locale}");
    }
    made?;
    add_settings(&data.join("postgresql.conf"))?;
    create_database(directory, programs, start)?;
    fs::rename(&data, directory.data()).at("rename", &data)?;
    // The rename must survive a power failure. So must the directories on the way, which may be just as new.
    directory.dir().ancestors().try_for_each(|dir| sync_directory(dir).at("sync", dir))
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
    // The socket's directory protects local access. If someone makes the server listen on the network, it still rejects
    // logins.
    command.args(["--auth-local=trust", "--auth-host=reject"]);
    run(command, "initdb", directory, start)
}

fn add_settings(file: &Path) -> Result<(), EmbeddedError> {
    let mut conf = own_options().append(true).open(file).at("open", file)?;
    conf.write_all(SETTINGS.as_bytes()).and_then(|()| conf.sync_all()).at("write", file)
}

/// Creates the database without a running server, as part of the new cluster.
fn create_database(
    directory: &Directory,
    programs: &Programs,
    start: &StartLock,
) -> Result<(), EmbeddedError> {
    // The shell writes the statement, because the process's own input is the start lock. Without exit_on_error, an
    // error would go unnoticed.
    let mut command = directory.account().command(Path::new("/bin/sh"));
    command
        .args(["-c", r#"echo "$1" | "$2" --single -D "$3" -c exit_on_error=on postgres"#, "sh"])
        .arg(format!("create database {DATABASE};"))
        .arg(programs.program("postgres"))
        .arg(directory.data_new());
    run(command, "postgres", directory, start)
}
