//! A PostgreSQL that offers TLS, and certificates of all kinds.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod,
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, RevokedCertParams, SerialNumber, date_time_ymd,
};

use super::cluster::Cluster;
use super::eventually;

/// The host name of the valid certificate, which is never resolved.
pub(crate) const HOST: &str = "kills.test";

/// How roles can connect. `aegis` can in every way.
const RULES: &str = "local all all trust\n\
    hostssl all crypt,either 127.0.0.1/32 trust\n\
    hostnossl all plain,either 127.0.0.1/32 trust\n\
    hostssl all witnessed 127.0.0.1/32 cert\n\
    host all secretive 127.0.0.1/32 scram-sha-256\n\
    host all aegis 127.0.0.1/32 trust\n";

/// The serial number of the revoked certificate.
const REVOKED: u64 = 4711;

/// A certificate authority.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
}

/// A private cluster with TLS.
pub(crate) struct TlsCluster {
    pub(crate) cluster: Cluster,
    files: PathBuf,
}

impl TlsCluster {
    /// `files` is a directory for certificates and keys.
    pub(crate) fn new(files: &Path) -> Self {
        let tls = Self { cluster: Cluster::private(&[]), files: files.to_owned() };
        let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
        tls.write("ours.crt", &ours.certificate());
        tls.write("ours.key", &ours.key.serialize_pem());
        let past = Some((date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1)));
        let future = Some((date_time_ymd(2200, 1, 1), date_time_ymd(2201, 1, 1)));
        for (name, host, years, signer) in [
            ("right", HOST, None, Some(&ours)),
            ("elsewhere", "elsewhere.test", None, Some(&ours)),
            ("expired", HOST, past, Some(&ours)),
            ("early", HOST, future, Some(&ours)),
            ("foreign", HOST, None, Some(&foreign)),
            ("revoked", HOST, None, Some(&ours)),
            ("edwards", HOST, None, Some(&ours)),
            ("alone", HOST, None, None),
            ("alone-expired", HOST, past, None),
            // Client certificates.
            ("witnessed", "witnessed", None, Some(&ours)),
            ("somebody", "somebody", None, Some(&ours)),
            ("stranger", "witnessed", None, Some(&foreign)),
        ] {
            let mut params = CertificateParams::new([host.to_owned()]).expect("a name");
            params.distinguished_name.push(DnType::CommonName, host);
            if let Some((from, to)) = years {
                (params.not_before, params.not_after) = (from, to);
            }
            if name == "revoked" {
                params.serial_number = Some(SerialNumber::from(REVOKED));
            }
            let kind = if name == "edwards" { &PKCS_ED25519 } else { &PKCS_ECDSA_P256_SHA256 };
            let key = KeyPair::generate_for(kind).expect("a key");
            let certificate = match signer {
                Some(signer) => params.signed_by(&key, &Issuer::from_params(&signer.params, &signer.key)),
                None => params.self_signed(&key),
            };
            tls.write(&format!("{name}.crt"), &certificate.expect("a certificate").pem());
            tls.write(&format!("{name}.key"), &key.serialize_pem());
            if name == "right" {
                tls.write_signed_by_leaf(&params, &key);
            }
        }
        tls.write("ours.crl", &ours.list(2200));
        tls.write("past.crl", &ours.list(2001));
        tls.write("foreign.crl", &foreign.list(2200));
        fs::write(tls.cluster.directory().join("data/pg_hba.conf"), RULES).expect("the server's directory");
        let mut admin = tls.cluster.admin();
        for role in ["crypt", "plain", "either", "witnessed", "secretive"] {
            admin
                .batch_execute(&format!("create role {role} superuser login password 'hunter2'"))
                .expect("a role");
        }
        tls.show("right");
        tls
    }

    /// Makes the server present a certificate.
    pub(crate) fn show(&self, name: &str) {
        let mut admin = self.cluster.admin();
        let data = self.cluster.directory().join("data");
        let owner = fs::metadata(&data).expect("the server's directory");
        for (file, setting) in [
            (format!("{name}.crt"), "ssl_cert_file"),
            (format!("{name}.key"), "ssl_key_file"),
            ("ours.crt".to_owned(), "ssl_ca_file"),
        ] {
            let copy = data.join(&file);
            fs::copy(self.files.join(&file), &copy).expect("a copy");
            chown(&copy, Some(owner.uid()), Some(owner.gid())).expect("the server's own");
            admin.batch_execute(&format!("alter system set {setting} = '{file}'")).expect("a setting");
        }
        admin.batch_execute("alter system set ssl = on").expect("a setting");
        self.reload(&format!("current_setting('ssl') || current_setting('ssl_cert_file') = 'on{name}.crt'"));
    }

    /// Makes the server offer no TLS.
    pub(crate) fn hide(&self) {
        self.cluster.admin().batch_execute("alter system set ssl = off").expect("a setting");
        self.reload("current_setting('ssl') = 'off'");
    }

    /// A certificate signed by a server certificate, which may not sign.
    fn write_signed_by_leaf(&self, leaf: &CertificateParams, leaf_key: &KeyPair) {
        let mut params = CertificateParams::new([HOST.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, HOST);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &Issuer::from_params(leaf, leaf_key));
        self.write("by-leaf.crt", &certificate.expect("a certificate").pem());
        self.write("by-leaf.key", &key.serialize_pem());
    }

    fn reload(&self, done: &str) {
        self.cluster.admin().batch_execute("select pg_reload_conf()").expect("a reload");
        eventually(Duration::from_secs(10), done, || {
            let row = self.cluster.admin().query_one(&format!("select {done}"), &[]).expect("a row");
            row.get(0)
        });
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.files.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.files.join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
    }
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { params, key: KeyPair::generate().expect("a key") }
    }

    /// A list with one revoked certificate, valid until a year.
    fn list(&self, until: i32) -> String {
        let (this_update, next_update) = (date_time_ymd(2000, 1, 1), date_time_ymd(until, 1, 1));
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(REVOKED),
            revocation_time: this_update,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let issuer = Issuer::from_params(&self.params, &self.key);
        list.signed_by(&issuer).expect("a list").pem().expect("PEM")
    }

    fn certificate(&self) -> String {
        self.params.self_signed(&self.key).expect("a certificate").pem()
    }
}
