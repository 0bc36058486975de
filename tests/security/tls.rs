//! TLS in libpq's modes, with a real server that presents valid and invalid certificates.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::cluster::{Database, major_version};
use crate::support::dumps::small_event;
use crate::support::program::{Ended, Workplace};
use crate::support::proxy::{Fault, Phase, Proxy, Side, What};
use crate::support::tls::{HOST, TlsCluster};
use crate::support::{log_case, not_tried};

/// Records for each run whether its session is encrypted.
const WITNESS: &str = "create table witness (ssl boolean, name text);
    create function note() returns trigger language plpgsql as $$ begin
        insert into public.witness select ssl, client_dn from pg_stat_ssl where pid = pg_backend_pid();
        return new;
    end $$;
    create trigger note before insert on kill_load_run for each row execute function note()";

/// A database with tables and a record of the sessions that write.
fn prepare<'c>(tls: &'c TlsCluster, work: &Workplace) -> Database<'c> {
    let database = tls.cluster.database("tls");
    work.program(&["schema", "apply"]).env("DATABASE_URL", &database.url()).expect(0);
    database.client().batch_execute(WITNESS).expect("a trigger");
    database
}

/// A load of no events over TCP.
fn load(work: &Workplace, database: &Database<'_>, tls: &TlsCluster, user: &str, parameters: &str) -> Ended {
    let (port, name) = (tls.cluster.port(), database.name());
    let url = format!("postgresql://{user}@{HOST}:{port}/{name}?hostaddr=127.0.0.1{parameters}");
    log_case(&url);
    let home = work.path().display().to_string();
    let program = work.program(&["load"]).env("DATABASE_URL", &url).env("HOME", &home);
    program.env("DATABASE_CONNECTION_TIMEOUT", "5s").run()
}

/// The record since the last call: the session's encryption, and the name in the client certificate.
fn seen(database: &Database<'_>) -> (bool, Option<String>) {
    let rows =
        database.client().query("with gone as (delete from witness returning *) select * from gone", &[]);
    match &rows.expect("rows")[..] {
        [row] => (row.get(0), row.get(1)),
        rows => panic!("{} rows", rows.len()),
    }
}

#[test]
fn each_sslmode_checks_what_libpq_checks() {
    const PLAIN: Result<bool, &str> = Ok(false);
    const CRYPT: Result<bool, &str> = Ok(true);
    let work = Workplace::new();
    let tls = TlsCluster::new(work.path());
    let database = prepare(&tls, &work);
    let ours = format!("&sslrootcert={}", tls.file("ours.crt"));
    let alone = format!("&sslrootcert={}", tls.file("alone.crt"));
    let past = format!("&sslrootcert={}", tls.file("alone-expired.crt"));
    for (certificate, mode, root, expected) in [
        ("right", "disable", "", PLAIN),
        ("right", "allow", "", PLAIN),
        ("right", "prefer", "", CRYPT),
        ("right", "require", "", CRYPT),
        ("right", "require", &*ours, CRYPT),
        ("right", "verify-ca", &ours, CRYPT),
        ("right", "verify-full", &ours, CRYPT),
        (
            "right",
            "verify-full",
            "&sslrootcert=system",
            Err("not signed by an authority of sslrootcert 'system'"),
        ),
        ("elsewhere", "prefer", &ours, CRYPT),
        ("elsewhere", "require", &ours, CRYPT),
        ("elsewhere", "verify-ca", &ours, CRYPT),
        ("elsewhere", "verify-full", &ours, Err("certificate is for elsewhere.test, not for kills.test")),
        // As psql: unencrypted rather than with a wrong certificate.
        ("expired", "prefer", &ours, PLAIN),
        ("expired", "allow", &ours, PLAIN),
        ("expired", "require", "", CRYPT),
        ("expired", "require", &ours, Err("has expired")),
        ("expired", "verify-full", &ours, Err("has expired")),
        ("early", "verify-ca", &ours, Err("is not valid yet")),
        ("foreign", "require", "", CRYPT),
        ("foreign", "require", &ours, Err("add the certificate of the authority that signed")),
        ("foreign", "verify-ca", &ours, Err("not signed by an authority of sslrootcert")),
        ("alone", "require", "", CRYPT),
        ("alone", "verify-full", &ours, Err("not signed by an authority of sslrootcert")),
        ("alone", "verify-full", &alone, CRYPT),
        ("alone-expired", "verify-full", &past, Err("has expired")),
    ] {
        log_case((certificate, mode));
        tls.show(certificate);
        let run = load(&work, &database, &tls, "aegis", &format!("&sslmode={mode}{root}"));
        match expected {
            Ok(encrypted) => {
                run.expect(0);
                assert_eq!(seen(&database), (encrypted, None), "{certificate} {mode} {root}");
            }
            Err(words) => {
                let run =
                    run.expect(7).says(&["cannot connect to the database: kills.test:", words, "\nhint: "]);
                assert!(!run.stderr.contains("retrying"), "no retry renews a certificate: {}", run.stderr);
            }
        }
    }
}

#[test]
fn a_server_can_require_or_lack_tls() {
    let work = Workplace::new();
    let tls = TlsCluster::new(work.path());
    let database = prepare(&tls, &work);
    for (user, mode, expected) in [
        ("crypt", "disable", Err("need sslmode=require or higher")),
        ("crypt", "allow", Ok(true)),
        ("crypt", "prefer", Ok(true)),
        ("plain", "prefer", Ok(false)),
        ("plain", "require", Err("pg_hba.conf")),
        ("either", "allow", Ok(false)),
    ] {
        let run = load(&work, &database, &tls, user, &format!("&sslmode={mode}"));
        match expected {
            Ok(encrypted) => {
                let stderr = run.expect(0).stderr;
                assert_eq!(seen(&database).0, encrypted, "{user} {mode}");
                let warned = stderr.matches("the connection is not encrypted").count();
                assert_eq!(warned, usize::from((user, mode) == ("plain", "prefer")), "{stderr}");
            }
            Err(words) => drop(run.expect(7).says(&[words])),
        }
    }
    tls.hide();
    load(&work, &database, &tls, "aegis", "&sslmode=prefer").expect(0);
    assert!(!seen(&database).0);
    load(&work, &database, &tls, "aegis", "&sslmode=require")
        .expect(7)
        .says(&["server does not support TLS", "ssl = on"]);
    // A Unix socket is never encrypted and need not be.
    let url = format!("{}&sslmode=require", database.url());
    work.program(&["load"]).env("DATABASE_URL", &url).expect(0);
}

/// A cut handshake is retried in the same mode, because the certificate is not at fault.
#[test]
fn a_cut_handshake_is_retried_in_the_same_mode() {
    let work = Workplace::new();
    let tls = TlsCluster::new(work.path());
    let database = prepare(&tls, &work);
    for (bytes, what) in [(0, What::Reset), (1, What::Cut), (200, What::Reset), (600, What::Cut)] {
        for mode in ["prefer", "verify-full"] {
            log_case((bytes, what, mode));
            let proxy = Proxy::to(tls.cluster.port());
            proxy.plan(Fault::new(Phase::Bytes(Side::Server, bytes), what));
            let url = proxy.url(&database).replace("127.0.0.1", HOST);
            let root = tls.file("ours.crt");
            let url = format!("{url}?hostaddr=127.0.0.1&sslmode={mode}&sslrootcert={root}");
            let program =
                work.program(&["load"]).env("DATABASE_URL", &url).env("DATABASE_RETRY_BASE", "20ms");
            program.expect(0).says(&["retrying"]);
            assert_eq!(proxy.hits(), 1);
            assert!(seen(&database).0);
        }
    }
}

/// The cancel request is encrypted like the session.
#[test]
fn a_stalled_statement_is_cancelled_over_tls() {
    let work = Workplace::new();
    let tls = TlsCluster::new(work.path());
    let database = prepare(&tls, &work);
    let mut holder = database.client();
    holder.batch_execute("begin; lock table kill_event").expect("a lock");
    let (root, port) = (tls.file("ours.crt"), tls.cluster.port());
    let url = format!(
        "postgresql://crypt@{HOST}:{port}/{}?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={root}",
        database.name()
    );
    let program =
        work.program(&["load", "--json"]).env("DATABASE_URL", &url).stdin(small_event(1).to_string());
    let program = program.env("DATABASE_STALL_TIMEOUT", "1s").env("DATABASE_RETRY_ATTEMPTS", "2");
    let run = program.env("DATABASE_RETRY_BASE", "20ms").expect(4);
    run.says(&["cancelling the statement", "a lock that backend"]);
}

#[test]
fn client_certificates_are_used() {
    let work = Workplace::new();
    let tls = TlsCluster::new(work.path());
    let database = prepare(&tls, &work);
    let pair = |certificate: &str, key: &str| {
        let (certificate, key) = (tls.file(certificate), tls.file(key));
        format!("&sslmode=require&sslcert={certificate}&sslkey={key}")
    };
    load(&work, &database, &tls, "witnessed", &pair("witnessed.crt", "witnessed.key")).expect(0);
    assert_eq!(seen(&database), (true, Some("/CN=witnessed".to_owned())));
    let open = work.path().join("open.key");
    fs::copy(tls.file("witnessed.key"), &open).expect("a copy");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).expect("its mode");
    work.write(
        "locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    fs::set_permissions(work.path().join("locked.key"), fs::Permissions::from_mode(0o600)).expect("its mode");
    for (parameters, code, words) in [
        ("&sslmode=require".to_owned(), 7, "need a client certificate (sslcert, sslkey)"),
        (
            pair("somebody.crt", "somebody.key"),
            7,
            "the common name of the client certificate must be the user's name",
        ),
        (pair("stranger.crt", "stranger.key"), 7, "stranger.crt' is valid, and signed by an authority"),
        (pair("witnessed.crt", "somebody.key"), 2, "cannot use the client certificate"),
        (pair("witnessed.crt", "open.key"), 2, "chmod 600"),
        (pair("witnessed.crt", "locked.key"), 2, "it is encrypted"),
        (pair("witnessed.crt", "none.key"), 2, "none.key"),
        (pair("witnessed.crt", "ours.crt"), 2, "holds no private key"),
        (pair("witnessed.key", "witnessed.key"), 2, "holds no certificate"),
    ] {
        load(&work, &database, &tls, "witnessed", &parameters).expect(code).says(&[words]);
    }
    // Files in the default location are used without a setting.
    let directory = work.path().join(".postgresql");
    fs::create_dir(&directory).expect("a directory");
    for (file, name) in
        [("witnessed.crt", "postgresql.crt"), ("witnessed.key", "postgresql.key"), ("ours.crt", "root.crt")]
    {
        fs::copy(tls.file(file), directory.join(name)).expect("a copy");
    }
    load(&work, &database, &tls, "witnessed", "&sslmode=verify-full").expect(0);
    assert_eq!(seen(&database), (true, Some("/CN=witnessed".to_owned())));
}

#[test]
fn passwords_are_sent_over_tls() {
    let work = Workplace::new();
    let tls = TlsCluster::new(work.path());
    let database = prepare(&tls, &work);
    load(&work, &database, &tls, "secretive", "").expect(7).says(&["~/.pgpass"]);
    load(&work, &database, &tls, "secretive", "&password=wrong")
        .expect(7)
        .says(&["password authentication failed for user \"secretive\"", "check the password"]);
    load(&work, &database, &tls, "secretive", "&password=hunter2").expect(0);
    load(&work, &database, &tls, "secretive", "&password=hunter2&channel_binding=require").expect(0);
    let unbound = "&password=hunter2&channel_binding=require&sslmode=disable";
    load(&work, &database, &tls, "secretive", unbound).expect(7).says(&["channel_binding=require"]);
    work.write(".pgpass", format!("{HOST}:*:*:secretive:hunter2\n"));
    let file = work.path().join(".pgpass");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("its mode");
    load(&work, &database, &tls, "secretive", "").expect(7).says(&["chmod 600"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its mode");
    load(&work, &database, &tls, "secretive", "").expect(0);
    // No library's log contains it either.
    let (port, name) = (tls.cluster.port(), database.name());
    let url = format!("postgresql://secretive:hunter2@{HOST}:{port}/{name}?hostaddr=127.0.0.1");
    let program = work.program(&["load"]).env("DATABASE_URL", &url);
    let run = program
        .env("RUST_LOG", "trace,rustls=trace,tokio_postgres=trace")
        .expect(0)
        .says(&["executing statement batch"]);
    assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
}

/// The system accepts forms of an address that no certificate has. They are rejected with a hint that names the cause.
#[test]
fn direct_tls_needs_no_request_for_it() {
    let work = Workplace::new();
    let tls = TlsCluster::new(work.path());
    let database = prepare(&tls, &work);
    if major_version(&mut database.client()) < 17 {
        return not_tried("sslnegotiation=direct", "the server is older than version 17");
    }
    let direct = format!("&sslrootcert={}&sslmode=verify-full&sslnegotiation=direct", tls.file("ours.crt"));
    tls.show("right");
    load(&work, &database, &tls, "aegis", &direct).expect(0);
    assert_eq!(seen(&database), (true, None));
    tls.show("elsewhere");
    load(&work, &database, &tls, "aegis", &direct).expect(7).says(&["is for elsewhere.test"]);
}

#[test]
fn a_short_address_is_named_as_the_cause() {
    let work = Workplace::new();
    let tls = TlsCluster::new(work.path());
    let database = prepare(&tls, &work);
    for host in ["127.1", "0x7f000001"] {
        let url = format!("postgresql://aegis@{host}:{}/{}", tls.cluster.port(), database.name());
        let file = tls.file("ours.crt");
        let program = work.program(&["load"]).env("DATABASE_CONNECTION_TIMEOUT", "5s");
        let program = program.env("DATABASE_AWAY_TIMEOUT", "1s");
        let ended =
            program.env("DATABASE_URL", &format!("{url}?sslmode=verify-full&sslrootcert={file}")).run();
        assert_ne!(ended.code, 0, "{}", ended.stdout);
        ended.says(&["write the host as a name or as a whole address"]);
    }
}
