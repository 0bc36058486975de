//! Tests of the lines of a `.env`: settings, lines of other programs, errors.

use crate::settings::env_file::*;

fn read(text: &[u8]) -> Result<EnvFile, String> {
    EnvFile::parse(text, &|_| false).map_err(|error| error.to_string())
}

#[test]
fn lines_of_another_program() {
    let check = |text: &[u8], odd: &str| {
        let found = read(&[text, b"\nKILLS_NUL=strip\n"].concat()).expect("a warning at most");
        assert_eq!(found.get("KILLS_NUL"), Some("strip"), "{text:?}");
        assert_eq!(found.warnings.join(";").split(" of ").next(), Some(odd), "{text:?}");
    };
    check(b"APP_NAME=My Kill Board", "line 1");
    check(b"CFG={\"a\": 1}", "line 1");
    check(b"NOTE=it's\nA=B C\nnonsense", "lines 1, 2, 3");
    check(b"# Schl\xfcssel\nKEY=\xff", "line 2");
    check(b"A=x\0y", "line 1");
    check(b"KEY=\"-----BEGIN\nabc def\n-----END\"\nB=1", "");
    check(b"[section]\nother: yaml", "lines 1, 2");
    check(b"PGADMIN_DEFAULT_EMAIL=my mail", "line 1");
}

#[test]
fn lines_that_name_a_setting() {
    for (text, line) in [
        (&b"A=1\nDATABASE_URL=a b c\n"[..], 2),
        (b"PGPASSWORD='zebra\nB=1\n", 1),
        (b"export KILLS_NUL=strip it\n", 1),
        (b"DATABASE_URL: postgresql://db\n", 1),
        (b"ALBION_SERVER=\xff\n", 1),
        (b"KILLS_LAYOUT aegis\n", 1),
    ] {
        let words = read(text).expect_err("invalid");
        assert!(words.contains(&format!("line {line} of the file .env")), "{text:?} {words}");
    }
}

#[test]
fn misspelled_settings() {
    let words = read(b"DATABASE_URL=x\nKILLS_WORKER_CONCURENCY=4\n").expect_err("misspelled");
    assert!(
        words.contains("KILLS_WORKER_CONCURENCY") && words.contains("KILLS_WORKER_CONCURRENCY"),
        "{words}"
    );
    assert!(read(b"DATABASE_URI=x\n").is_err());
    assert!(read(b"DATABASE_URI=x\nDATABASE_URL=y\n").is_ok(), "another program's");
}

#[test]
fn different_values_of_a_setting_are_noticed() {
    let text = b"DATABASE_URL=postgresql://a/kills\nPGHOST=a\nPGHOST=a\nA=1\nA=2\nDATABASE_URL=postgresql://b/kills\n";
    let found = read(text).expect("settings");
    assert_eq!(found.get("DATABASE_URL"), Some("postgresql://b/kills"));
    assert_eq!(
        found.warnings,
        ["the file .env sets DATABASE_URL to different values, and the last one is used"]
    );
    let found = EnvFile::parse(text, &|name| name == "DATABASE_URL").expect("settings");
    assert!(found.warnings.is_empty(), "the environment has it: {:?}", found.warnings);
}

#[test]
fn passwords_are_noticed() {
    let check = |text: &str, expected: bool| {
        assert_eq!(read(text.as_bytes()).expect("settings").holds_password(), expected, "{text}");
    };
    check("PGPASSWORD=zebra", true);
    check("PGPASSWORD=", false);
    check("DATABASE_URL='postgresql://me:zebra@db/kills'", true);
    check("DATABASE_URL='postgresql://me@db/kills?password=zebra'", true);
    check("DATABASE_URL='postgresql://me@db/kills'\nOTHER_PASSWORD=zebra", false);
}
