//! The whole text of the errors of likely mistakes: what is wrong, its place and value, and a hint that works when pasted.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;

use crate::support::cluster::{Cluster, Database};
use crate::support::dumps::generated;
use crate::support::program::{Program, Workplace};
use crate::support::{free_port, log_case};

/// A command, its variables, its exit code, and its whole standard error, in which placeholders stand for the values of
/// [`Values`]. A leading `-` removes a variable.
type Mistake = (&'static [&'static str], &'static [&'static str], i32, &'static str);

/// The values of the placeholders.
struct Values(Vec<(&'static str, String)>);

impl Values {
    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// Replaces the values in the output by their placeholders, and the times of log lines.
    fn hide(&self, text: &str) -> String {
        let hidden = self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(value, name));
        let line = |line: &str| match line.strip_prefix("[20") {
            Some(rest) => format!("[{{time}}{}\n", rest.get("26-11-30T02:21:13Z".len()..).unwrap_or(rest)),
            None => format!("{line}\n"),
        };
        hidden.lines().map(line).collect()
    }
}

const DUMP: &str = "dump.ndjson";
const LOAD: &[&str] = &["load", DUMP];

const ARGUMENTS: &[Mistake] = &[
    (&["laod", DUMP], &[], 2, ""),
    (&[DUMP], &[], 2, ""),
    (&["load", "--sever", "europe", DUMP], &[], 2, ""),
    (&["load", "--server"], &[], 2, ""),
    (&["verify", "--force", DUMP], &[], 2, ""),
    (&["load", "--database-url", "postgresql://h/kills", "--embedded", "x", DUMP], &[], 2, ""),
    (&["delete", "--server", "europe"], &[], 2, ""),
    (&["completions", "csh"], &[], 2, ""),
];

const SETTINGS: &[Mistake] = &[
    (LOAD, &["-ALBION_SERVER"], 2, ""),
    (&["load", "--server", "mars", DUMP], &[], 2, ""),
    (LOAD, &["ALBION_SERVER=eu1"], 2, ""),
    (LOAD, &["-DATABASE_URL"], 2, ""),
    (&["load", "--layout", "prisma", DUMP], &[], 2, ""),
    (&["load", "--schema", "pg_x", DUMP], &[], 2, ""),
    (&["load", "--max-rejects", "200%", DUMP], &[], 2, ""),
    (&["load", "--battle", "x", DUMP], &[], 2, ""),
    (&["load", "--events-at", "", DUMP], &[], 2, ""),
    (&["load", "--listen", "http://x", DUMP], &[], 2, ""),
    (&["load", "--listen", "{busy}", DUMP], &[], 2, ""),
    (&["load", "--rejects", DUMP, DUMP], &[], 2, ""),
    (&["load", "--metrics-file", "none/kills.prom", DUMP], &[], 2, ""),
    (&["delete", "--before", "yesterday"], &[], 2, ""),
    (LOAD, &["DATABASE_POOL_MAX=0"], 2, ""),
    (LOAD, &["DATABASE_POOL_MIN=20"], 2, ""),
    (LOAD, &["DATABASE_AWAY_TIMEOUT=5 minutes!"], 2, ""),
    (LOAD, &["KILLS_SEGMENT_BYTES=1"], 2, ""),
    (LOAD, &["RUST_LOG=verbose"], 2, ""),
    (LOAD, &["KILLS_EMBEDDED=x"], 2, ""),
    (&["load", "--embedded", "."], &["-DATABASE_URL"], 2, ""),
    (&["embedded", "url", "none"], &[], 1, ""),
    (&["load", "--dry-run", DUMP], &["KILLS_LISTN=8080"], 0, ""),
    (LOAD, &["DATABASE_URL=mysql://me@h/kills"], 2, ""),
    (LOAD, &["DATABASE_URL=postgresql://me@h:99999/kills"], 2, ""),
    (LOAD, &["DATABASE_URL=postgresql://me@h/kills?sslmode=requires"], 2, ""),
    (LOAD, &["DATABASE_URL=postgresql://me@h/kills?sslmode=verify-full&sslrootcert=none.pem"], 2, ""),
    (LOAD, &["DATABASE_URL=postgresql://me@h/kills?ssl=1"], 2, ""),
];

const INPUTS: &[Mistake] = &[
    (&["load", "none.ndjson"], &[], 1, ""),
    (&["load", "none.ndjson", "none.gz"], &[], 1, ""),
    (&["load", "*.json"], &[], 1, ""),
    (&["verify", "directory/none"], &[], 1, ""),
    (&["load", "dump.xz"], &[], 1, ""),
    (&["load", "cut.gz"], &[], 1, ""),
    (&["load", "open.json"], &[], 1, ""),
    (&["load", "words.txt"], &[], 3, ""),
    (&["load", "--rejects", "none/rejects", DUMP], &[], 1, ""),
];

const DATABASES: &[Mistake] = &[
    (LOAD, &["DATABASE_URL=postgresql://me@127.0.0.1:{closed}/kills"], 4, ""),
    (LOAD, &["DATABASE_URL=postgresql://me@/kills?host=/none"], 4, ""),
    (LOAD, &["DATABASE_URL=postgresql://secret:wrong@127.0.0.1:{port}/{database}"], 7, ""),
    (LOAD, &["DATABASE_URL=postgresql://secret@127.0.0.1:{port}/{database}"], 7, ""),
    (LOAD, &["DATABASE_URL=postgresql://nobody@127.0.0.1:{port}/{database}"], 7, ""),
    (LOAD, &["DATABASE_URL=postgresql://no_login@127.0.0.1:{port}/{database}"], 7, ""),
    (LOAD, &["DATABASE_URL=postgresql://barred@127.0.0.1:{port}/{database}"], 7, ""),
    (LOAD, &["DATABASE_URL=postgresql://aegis@127.0.0.1:{port}/kils"], 7, ""),
    (LOAD, &["DATABASE_URL=postgresql://aegis@127.0.0.1:{port}/{database}?sslmode=require"], 7, ""),
    (
        LOAD,
        &["DATABASE_URL=postgresql://aegis@127.0.0.1:{port}/{database}?target_session_attrs=standby"],
        4,
        "",
    ),
    (LOAD, &["DATABASE_URL=postgresql://reader@127.0.0.1:{port}/{database}"], 7, ""),
    (LOAD, &["DATABASE_URL=postgresql://crowded@127.0.0.1:{port}/{database}"], 4, ""),
    (LOAD, &["DATABASE_URL=postgresql://guest@127.0.0.1:{port}/{database}"], 7, ""),
    (&["verify", DUMP], &["DATABASE_URL=postgresql://guest@127.0.0.1:{port}/{database}"], 7, ""),
    (&["verify", "--schema", "kils", DUMP], &[], 7, ""),
    (&["delete", "--schema", "kils", DUMP], &[], 7, ""),
    (&["schema", "apply", "--distributed", "citus"], &[], 7, ""),
];

/// A cluster with roles that cannot log in, or cannot load.
fn cluster() -> Cluster {
    let cluster = Cluster::private(&[]);
    let roles = "create role secret login password 'x'; create role no_login; create role barred login;
        create role reader login; alter role reader set default_transaction_read_only = on;
        create role crowded login connection limit 0; create role guest login";
    cluster.admin().batch_execute(roles).expect("roles");
    let rules = "local all all trust\nhost all barred 127.0.0.1/32 reject\nhost all secret 127.0.0.1/32 scram-sha-256\n\
        host all all 127.0.0.1/32 trust\n";
    fs::write(cluster.directory().join("data/pg_hba.conf"), rules).expect("the server's directory");
    cluster.restart();
    cluster
}

fn files() -> Workplace {
    let work = Workplace::new();
    work.write(DUMP, generated(5, 1, 0.0));
    work.write("dump.xz", b"\xfd7zXZ\0\0\x04");
    // The header of a gzip file.
    work.write("cut.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03");
    work.write("open.json", "[\n{\"EventId\": 1},\n");
    work.write("words.txt", "kills of today\n");
    fs::create_dir(work.path().join("directory")).expect("a directory");
    work
}

fn program(work: &Workplace, values: &Values, url: &str, args: &[&str], variables: &[&str]) -> Program {
    let args: Vec<String> = args.iter().map(|argument| values.fill(argument)).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut program = work.program(&args).env("DATABASE_URL", url);
    // Longer than any answer here, shorter than a wait.
    program = program.env("DATABASE_CONNECTION_TIMEOUT", "800ms").env("DATABASE_AWAY_TIMEOUT", "800ms");
    for variable in variables {
        program = match (variable.strip_prefix('-'), variable.split_once('=')) {
            (Some(name), _) => program.without(name),
            (None, Some((name, value))) => program.env(name, &values.fill(value)),
            (None, None) => panic!("{variable} is no NAME=value"),
        };
    }
    program
}

/// Returns the texts that are not as expected.
fn check(mistakes: &[Mistake], work: &Workplace, values: &Values, database: &Database<'_>) -> String {
    let mut wrong = String::new();
    for (args, variables, code, text) in mistakes {
        log_case((args, variables));
        let ended = program(work, values, &database.url(), args, variables).run();
        let found = values.hide(&ended.stderr);
        if (ended.code, found.as_str()) != (*code, *text) {
            writeln!(wrong, "{args:?} {variables:?} ends with {}:\n{found}", ended.code).expect("memory");
        }
        // The hint of one error, and its cause once.
        assert!(
            !found.contains("db error") && !found.contains("FATAL") && !found.contains("os error"),
            "{found}"
        );
    }
    wrong
}

#[test]
fn errors_have_a_place_a_value_and_a_hint() {
    let cluster = cluster();
    let database = cluster.database("kills");
    let work = files();
    let busy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let values = Values(vec![
        ("{dir}", work.path().display().to_string()),
        ("{port}", cluster.port().to_string()),
        ("{closed}", free_port().to_string()),
        ("{busy}", busy.local_addr().expect("its number").port().to_string()),
        ("{database}", database.name().to_owned()),
        ("{program}", env!("CARGO_BIN_EXE_aegis-kills").to_owned()),
    ]);
    database.client().batch_execute("revoke create on schema public from public").expect("a schema");
    let tables = [ARGUMENTS, SETTINGS, INPUTS, DATABASES];
    let wrong = tables.map(|mistakes| check(mistakes, &work, &values, &database)).concat();
    assert!(wrong.is_empty(), "{wrong}");
}
