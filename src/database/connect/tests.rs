//! Tests of connection strings, variables and password files, and that no error contains a password.

#[cfg(test)]
pub(crate) mod files;
#[cfg(test)]
pub(crate) mod settings;

use crate::database::connect::error::TargetError;
use crate::database::connect::shown_url::without_password;
use crate::database::connect::*;
use postgres::config::Host;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

fn with<'s>(pairs: &'s [(&'s str, &'s str)]) -> impl Fn(&str) -> Option<String> + 's {
    move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
}

fn url(text: &str) -> Result<Target, TargetError> {
    from_url(text, &with(&[]))
}

#[track_caller]
fn hosts(text: &str) -> Vec<(String, u16)> {
    let target = url(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let place = |config: &Config| match config.get_hosts() {
        [Host::Tcp(name)] => (name.clone(), config.get_ports()[0]),
        [Host::Unix(path)] => (path.display().to_string(), config.get_ports()[0]),
        other => panic!("{other:?}"),
    };
    target.hosts.iter().map(place).collect()
}

#[test]
fn a_prisma_url() {
    let text =
        "postgresql://me:p%40ss@db.example:5433/kills?schema=my%20schema&connection_limit=5&pgbouncer=true";
    let target = url(text).unwrap();
    assert_eq!(target.schema.as_deref(), Some("my schema"));
    assert_eq!(target.warnings.len(), 2);
    let config = &target.hosts[0];
    assert_eq!(config.get_password(), Some(&b"p@ss"[..]));
    assert_eq!(config.get_ports(), [5433]);
    assert_eq!(config.get_dbname(), Some("kills"));
}

#[test]
fn places_of_all_forms() {
    let place = |host: &str, port| vec![(host.to_owned(), port)];
    assert_eq!(hosts("postgres://db"), place("db", 5432));
    assert_eq!(hosts("postgresql://me@[fe80::1]:5433/k"), place("fe80::1", 5433));
    assert_eq!(hosts("postgresql://%2Fvar%2Frun/k?port=6432"), place("/var/run", 6432));
    assert_eq!(hosts("postgresql://elsewhere/k?host=/var/run"), place("/var/run", 5432));
    assert_eq!(hosts("host = db port='5433' password='a \\'b\\\\ c' user=me"), place("db", 5433));
    assert_eq!(hosts("hostaddr=192.0.2.1"), place("192.0.2.1", 5432));
    let two = vec![("a".to_owned(), 1), ("b".to_owned(), 5432)];
    assert_eq!(hosts("postgresql://a:1,b/k?target_session_attrs=read-write&load_balance_hosts=random"), two);
    assert_eq!(hosts("host=a,b port=1,5432"), two);
    assert_eq!(hosts("host=a,b port=7"), [("a".to_owned(), 7), ("b".to_owned(), 7)]);
    let target = url("host=db password='a \\'b\\\\ c' user=me").unwrap();
    assert_eq!(target.hosts[0].get_password(), Some(&b"a 'b\\ c"[..]));
    assert_eq!(target.hosts[0].get_dbname(), Some("me"));
}

#[test]
fn times() {
    let config = |text: &str| url(text).unwrap().hosts.remove(0);
    let plain = config("host=db");
    let seconds = Duration::from_secs;
    assert_eq!(plain.get_tcp_user_timeout(), Some(&seconds(30)));
    assert_eq!(plain.get_connect_timeout(), Some(&seconds(10)));
    assert_eq!(
        (plain.get_keepalives_idle(), plain.get_keepalives_interval()),
        (seconds(30), Some(seconds(10)))
    );
    assert_eq!(plain.get_keepalives_retries(), Some(3));
    let set = config(
        "postgresql://db?tcp_user_timeout=1500&connect_timeout=3&keepalives_count=5&keepalives_idle=7",
    );
    assert_eq!(set.get_tcp_user_timeout(), Some(&Duration::from_millis(1500)));
    assert_eq!(set.get_connect_timeout(), Some(&seconds(3)));
    assert_eq!((set.get_keepalives_idle(), set.get_keepalives_retries()), (seconds(7), Some(5)));
}

#[test]
fn wrong_parts_are_named_with_the_remedy() {
    // `tests/usage/error_texts.txt` has more, as whole texts.
    for (text, words) in [
        ("", &["empty", "postgresql://user"][..]),
        ("nonsense", &["neither a URL nor a list"]),
        ("host=db password='open", &["no end"]),
        ("postgresql://db:0/kills", &["port", "'0'", "1 to 65535"]),
        ("postgresql://db:65536/kills", &["port", "65536", "1 to 65535"]),
        ("postgresql://db/kills?port=-1", &["port", "-1", "1 to 65535"]),
        ("host=a,b port=1,x", &["port of the database URL", "1,x", "1 to 65535"]),
        ("host=a,b port=1,2,3", &["port has 3 values, host has 2", "or one for all"]),
        ("hostaddr=192.0.2.1,192.0.2.2 port=1,2,3", &["port has 3 values, host has 2"]),
        ("host=a hostaddr=192.0.2.1,192.0.2.2", &["hostaddr has 2 values, host has 1", "one for each host"]),
        ("hostaddr=999.0.2.1", &["hostaddr", "999.0.2.1", "192.0.2.1"]),
        ("postgresql://db:x/kills", &["port", "1 to 65535"]),
        ("postgresql://[fe80::1/kills", &["']'"]),
        ("postgresql://me:p%ff@db", &["password", "UTF-8"]),
        ("postgresql://m%e@db", &["user has a '%'", "%25"]),
        ("postgresql://me:p%4@db", &["password has a '%'", "%25"]),
        ("postgresql://me:%@db", &["password has a '%'", "%25"]),
        ("postgresql://d%b/kills", &["host has a '%'", "%25"]),
        ("postgresql://db/k%zz", &["dbname has a '%'", "%25"]),
        ("postgresql://db/k?application_name=%1", &["a parameter has a '%'", "%25"]),
        ("postgresql://m%00e@db", &["user holds a NUL (%00)"]),
        ("postgresql://me:%00@db", &["password holds a NUL (%00)"]),
        ("postgresql://db%00/kills", &["host holds a NUL (%00)"]),
        ("postgresql://db/k%00", &["dbname holds a NUL (%00)"]),
        ("postgresql://db/k?schema=%00", &["a parameter holds a NUL (%00)"]),
        ("postgresql:db/kills", &["lacks ://", "postgresql://user"]),
        ("postgres:/db/kills", &["lacks ://", "postgresql://user"]),
        ("postgresql//db/kills", &["lacks ://", "postgresql://user"]),
        ("jdbc:postgresql://db/kills", &["JDBC", "remove 'jdbc:'"]),
        ("\"postgresql:///kills\"", &["quotes around it", "remove the quotes"]),
        ("'postgresql:///kills'", &["quotes around it", "remove the quotes"]),
        ("DATABASE_URL=postgresql:///kills", &["starts with 'DATABASE_URL='", "remove"]),
        ("export DATABASE_URL=postgresql:///kills", &["starts with 'export'", "remove"]),
        ("psql postgresql:///kills", &["a command", "remove"]),
        ("file:./dev.db", &["SQLite", "postgresql://user"]),
        ("127.0.0.1:5432/kills", &["does not start with postgresql://", "put postgresql:// before it"]),
        ("prisma://accelerate.prisma-data.net/?api_key=x", &["Prisma Accelerate", "postgresql://user"]),
        ("http://db/kills", &["http://", "not with postgresql://"]),
        ("postgresql://me:se/cret@db/kills", &["'@'", "%2F"]),
        ("postgresql://me:1?2@db/kills", &["'@'", "%3F"]),
        ("postgresql://me:secret%40db:1/kills", &["the '@' before the host is percent-encoded"]),
        ("postgresql://a,b,c/k?port=1,2", &["port has 2 values, host has 3"]),
        ("host=a,b hostaddr=192.0.2.1", &["hostaddr has 1 value, host has 2"]),
        ("hostaddr=db", &["hostaddr of the database URL", "'db'", "192.0.2.1"]),
        ("postgresql://db?connect_timeout=soon", &["connect_timeout", "soon", "seconds"]),
        ("postgresql://db?tcp_user_timeout=30s", &["tcp_user_timeout", "30s", "milliseconds"]),
        ("postgresql://db?keepalives=yes", &["keepalives", "yes", "0 to 1"]),
        ("postgresql://db?keepalives=2", &["keepalives", "'2'", "0 to 1"]),
        ("postgresql://db?connect_timeout=-1", &["connect_timeout", "-1", "seconds from 0 to 86400"]),
        ("postgresql://db?connect_timeout=86401", &["connect_timeout", "86401", "0 to 86400"]),
        ("postgresql://db?keepalives_idle=86401", &["keepalives_idle", "86401", "0 to 86400"]),
        ("postgresql://db?keepalives_interval=1s", &["keepalives_interval", "1s", "seconds"]),
        ("postgresql://db?keepalives_count=128", &["keepalives_count", "128", "0 to 127"]),
        ("postgresql://db?tcp_user_timeout=86400001", &["tcp_user_timeout", "86400001", "0 to 86400000"]),
        ("postgresql://db?replication=database", &["replication is not supported", "remove it"]),
        ("postgresql://db?requirepeer=postgres", &["requirepeer is not supported", "remove it"]),
        ("postgresql://db?servicefile=a", &["servicefile is not supported", "DATABASE_URL"]),
        ("postgresql://db?Host=other", &["unknown parameter", "host, hostaddr"]),
        (
            "postgresql://db?target_session_attrs=master",
            &["target_session_attrs", "master", "read-only, primary"],
        ),
        ("postgresql://db?load_balance_hosts=1", &["load_balance_hosts", "random"]),
        ("postgresql://db?service=mine", &["service is not supported", "DATABASE_URL"]),
    ] {
        let error = url(text).expect_err(text).to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
    }
}

#[test]
fn errors_hold_no_password() {
    for text in [
        "mysql://me:hunter2@db/kills",
        "postgresql://me:hunter2@db:99999/kills",
        "postgresql://me:hunter2@db/kills?nonsense=hunter2",
        "postgresql://me:hun@ter2@db:x/kills",
        "postgresql://me:hunter2/@db/kills",
        "postgresql://me:hunter2?@db/kills",
        "postgresql://me:1hunter2?x@db/kills",
        "postgresql://me:%ffhunter2@db",
        "postgresql://db/kills?hunter2",
        "postgresql://me:1234?hunter=2x&ter2=@db/kills",
        "postgresql://me:1?hunter=ter2@db/kills",
        "postgresql://me:1,hunter2%40db/kills",
        "postgresql://me:hunter2%@db/kills",
        "postgresql://me:%00hunter2@db/kills",
        "postgresql://db/kills?password=hunter2%00",
        "host=db password=my hunter=ter2",
        "postgresql://db/kills?password=hunter2&port=x",
        "postgresql://db/kills?sslpassword=hunter2",
        "host=db password=hunter2 nonsense=1",
        "host=db password='hunter2",
        "host=db password=hunter2 hunter2",
        "hunter2",
        "me:hunter2@db/kills",
        "'postgresql://me:hunter2@db/kills'",
        "DATABASE_URL=postgresql://me:hunter2@db/kills",
        "jdbc:postgresql://db/kills?user=me&password=hunter2",
        "postgres:me:hunter2@db/kills",
        "postgresql://me:hunter2@db/kills?sslmode=verify-full",
    ] {
        let error = url(text).expect_err(text);
        let words = format!("{error} {error:?}");
        assert!(!words.contains("hunter2") && !words.contains("ter2"), "{words}");
    }
}

#[test]
fn variables() {
    assert!(from_variables(&with(&[])).unwrap().is_none());
    let target = from_variables(&with(&[("PGHOST", "/tmp"), ("PGUSER", "me")])).unwrap().unwrap();
    assert_eq!(target.hosts[0].get_dbname(), Some("me"));
    for (name, value, words) in [
        ("PGPORT", "many", "invalid value 'many' for PGPORT (expected a port from 1 to 65535"),
        ("PGHOSTADDR", "db", "invalid value 'db' for PGHOSTADDR (expected an IP address"),
        ("PGSSLMODE", "on", "invalid value 'on' for PGSSLMODE (possible values: disable, allow, prefer"),
        (
            "PGCONNECT_TIMEOUT",
            "-1",
            "invalid value '-1' for PGCONNECT_TIMEOUT (expected a whole number of seconds",
        ),
        ("PGTARGETSESSIONATTRS", "up", "invalid value 'up' for PGTARGETSESSIONATTRS (possible values: any"),
        (
            "PGSSLROOTCERT",
            "/none",
            "cannot use PGSSLROOTCERT '/none': No such file or directory\nhint: name a PEM file",
        ),
        ("PGSSLCERT", "/none", "cannot use PGSSLCERT '/none'"),
        (
            "PGLOADBALANCEHOSTS",
            "1",
            "invalid value '1' for PGLOADBALANCEHOSTS (possible values: disable, random",
        ),
        (
            "PGCHANNELBINDING",
            "on",
            "invalid value 'on' for PGCHANNELBINDING (possible values: disable, prefer, require",
        ),
        ("PGHOST", "a,b,c", "port has 2 values, host has 3"),
        ("PGSERVICE", "mine", "PGSERVICE is not supported\nhint: put the entries"),
        ("PGSERVICEFILE", "mine", "PGSERVICEFILE is not supported\nhint: put"),
        ("PGSSLCRL", "a", "PGSSLCRL has no effect without sslrootcert"),
        ("PGSSLCRLDIR", "a", "PGSSLCRLDIR has no effect without sslrootcert"),
        ("PGREQUIREPEER", "me", "PGREQUIREPEER is not supported\nhint: remove it"),
        (
            "PGREQUIREAUTH",
            "scram-sha-256",
            "PGREQUIREAUTH is not supported\nhint: remove it; channel_binding",
        ),
        ("PGSSLCERTMODE", "require", "PGSSLCERTMODE=require is not supported"),
        ("PGSSLMINPROTOCOLVERSION", "1.2", "invalid value '1.2' for PGSSLMINPROTOCOLVERSION (possible"),
        ("PGSSLMAXPROTOCOLVERSION", "TLSv1", "invalid value 'TLSv1' for PGSSLMAXPROTOCOLVERSION (possible"),
        ("PGSSLNEGOTIATION", "direct", "sslnegotiation=direct cannot be used with sslmode=prefer"),
        ("PGSSLSNI", "2", "invalid value '2' for PGSSLSNI"),
        (
            "PGGSSENCMODE",
            "require",
            "PGGSSENCMODE=require is not supported\nhint: remove it, and encrypt with sslmode",
        ),
    ] {
        // A file of authorities is read only if it is used.
        let mode = if name == "PGSSLROOTCERT" { "verify-ca" } else { "prefer" };
        let ports = if name == "PGHOST" { "1,2" } else { "" };
        let pairs = [(name, value), ("PGHOST", "db"), ("PGSSLMODE", mode), ("PGPORT", ports)];
        let error = from_variables(&with(&pairs)).expect_err(name).to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn variables_fill_what_a_url_leaves_out() {
    let pairs = [
        ("PGHOST", "other"),
        ("PGHOSTADDR", "192.0.2.7"),
        ("PGPORT", "6432"),
        ("PGUSER", "me"),
        ("PGPASSWORD", "secret"),
        ("PGDATABASE", "kills"),
        ("PGAPPNAME", "mine"),
        ("PGOPTIONS", "-c jit=off"),
        ("PGCONNECT_TIMEOUT", "4"),
        ("PGTARGETSESSIONATTRS", "read-write"),
    ];
    let target = from_url("postgresql://you@db", &with(&pairs)).unwrap();
    assert_eq!(target.application_name(), Some("mine"));
    let config = &target.hosts[0];
    assert_eq!(config.get_hosts(), [Host::Tcp("db".to_owned())]);
    assert!(config.get_hostaddrs().is_empty());
    assert_eq!(config.get_ports(), [6432]);
    assert_eq!((config.get_user(), config.get_dbname()), (Some("you"), Some("kills")));
    assert_eq!(config.get_password(), Some(&b"secret"[..]));
    assert_eq!(config.get_options(), Some("-c jit=off"));
    assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(4)));
    assert_eq!(target.attributes, SessionAttributes::ReadWrite);
    let all = from_variables(&with(&pairs)).unwrap().unwrap();
    assert_eq!(all.hosts[0].get_hostaddrs().len(), 1);
}

#[test]
fn passwords_come_from_the_file_for_each_host() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".pgpass");
    fs::write(&file, "a:1:*:*:first\nb:*:*:*:second\nlocalhost:*:*:*:socket\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let home = home.path().to_str().unwrap();
    let passwords = |text: &str, pairs: &[(&str, &str)]| -> Vec<Option<String>> {
        let target = from_url(text, &with(pairs)).unwrap();
        let password =
            |config: &Config| config.get_password().map(|bytes| String::from_utf8_lossy(bytes).into());
        target.hosts.iter().map(password).collect()
    };
    let some = |text: &str| Some(text.to_owned());
    let of_home = [("HOME", home)];
    assert_eq!(passwords("host=a,b,c port=1", &of_home), [some("first"), some("second"), None]);
    assert_eq!(passwords("host=/var/run/postgresql", &of_home), [some("socket")]);
    assert_eq!(passwords("host=/elsewhere", &of_home), [None]);
    assert_eq!(passwords("host=a port=1 password=own", &of_home), [some("own")]);
    let file = file.to_str().unwrap();
    assert_eq!(passwords("host=b", &[("PGPASSFILE", file)]), [some("second")]);
    let missing = from_url("host=b", &with(&[("PGPASSFILE", "/none")])).unwrap();
    assert_eq!(missing.warnings, ["the password file /none (passfile, PGPASSFILE) does not exist"]);
    assert_eq!(passwords(&format!("host=b passfile={file}"), &[("PGPASSFILE", "/none")]), [some("second")]);
}

#[test]
fn values_at_their_borders() {
    for text in [
        "postgresql://db:1/kills",
        "postgresql://db:65535/kills",
        "postgresql://db?connect_timeout=0",
        "postgresql://db?connect_timeout=86400&keepalives_idle=86400&keepalives_interval=0",
        "postgresql://db?keepalives=0&keepalives_count=0",
        "postgresql://db?keepalives=1&keepalives_count=127&tcp_user_timeout=0",
        "postgresql://db?tcp_user_timeout=86400000",
        "postgresql://db?sslmode=disable&target_session_attrs=any&load_balance_hosts=disable&channel_binding=disable",
        "postgresql://db?sslmode=allow&target_session_attrs=read-only&channel_binding=prefer&ssl=true",
        "postgresql://%6De:%25%40@d%62/%6Bills?application_name=%E9%8D%B5",
        "postgresql://me:@db/kills?sslrootcert=&sslcert=&sslkey=&sslcrl=&sslcrldir=&sslsni=",
        "postgresql://db?ssl_min_protocol_version=&ssl_max_protocol_version=&sslmode=&sslmode=allow",
        "postgresql://",
    ] {
        assert!(url(text).is_ok(), "{text}: {:?}", url(text).err());
    }
}

#[test]
fn a_timeout_is_as_in_libpq() {
    for (text, expected) in [
        ("postgresql://db", None),
        ("postgresql://db?connect_timeout=0", None),
        ("postgresql://db?connect_timeout=1", Some(2)),
        ("postgresql://db?connect_timeout=6", Some(6)),
    ] {
        assert_eq!(url(text).unwrap().connect_timeout, expected.map(Duration::from_secs), "{text}");
    }
}

#[test]
fn only_a_url_without_a_secret_is_public() {
    for (text, expected) in [
        ("postgresql://me@db:5432/kills?sslmode=require&connect_timeout=3", true),
        ("postgresql:///kills?host=%2Ftmp%2Fa&port=5433&user=me", true),
        ("postgresql://[::1]:5432,db/kills", true),
        ("host=db user=me", true),
        ("postgresql://me:secret@db", false),
        ("postgresql://me%3Asecret@db", false),
        ("postgresql://me:secret%40db:1/kills", false),
        ("postgresql://db/me%3Asecret%40db", false),
        ("postgresql://db?password=", false),
        ("postgresql://db?pasword=secret", false),
        ("postgresql://db?options=-c%20foo.pw=secret", false),
        ("host=db password='secret", false),
        ("me:secret@db", false),
        ("nonsense", false),
    ] {
        assert_eq!(without_password(text).as_deref() == Some(text), expected, "{text}");
    }
}

#[test]
fn a_password_in_the_url_is_detected() {
    for (text, held) in [
        ("postgresql://me:secret@db", true),
        ("postgresql://db?password=secret", true),
        ("host=db password='secret'", true),
        ("postgresql://me@db", false),
        ("postgresql://me:@db?password=", false),
        ("nonsense", false),
    ] {
        assert_eq!(holds_password(text), held, "{text}");
    }
}
