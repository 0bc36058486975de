//! A proxy that terminates TLS on both sides, and can read both directions.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConfig, ServerConnection,
    SignatureScheme, StreamOwned,
};

/// The first message of a client that requests TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// How long to read from one side before the other.
const TURN: Duration = Duration::from_millis(5);

/// Listens on a free port and forwards bytes, until it is dropped.
pub(crate) struct Impostor {
    address: SocketAddr,
    /// The number of bytes that clients sent inside TLS.
    read: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Impostor {
    /// Presents `certificate` and signs with `key`, which need not match.
    pub(crate) fn new(server: u32, certificate: &str, key: &str) -> Self {
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(certificate).expect("a certificate").collect();
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        let key = ring::sign::any_supported_type(&key).expect("a key to sign with");
        let shown = Shown(Arc::new(CertifiedKey::new(chain.expect("certificates"), key)));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shown));
        let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").expect("a port"));
        let address = listener.local_addr().expect("its number");
        let ended = Arc::new(AtomicBool::new(false));
        let read = Arc::<AtomicUsize>::default();
        let (seen, count) = (Arc::clone(&ended), Arc::clone(&read));
        let thread = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if seen.load(Ordering::Acquire) {
                    return;
                }
                // A client that notices disconnects, as tested.
                let _ = relay(client, server, &config, &count, &seen);
            }
        });
        Self { address, read, ended, thread: Some(thread) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The number of bytes that it could read.
    pub(crate) fn bytes_read(&self) -> usize {
        self.read.load(Ordering::Acquire)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves one client at a time.
fn relay(
    mut client: TcpStream,
    server: u32,
    config: &Arc<ServerConfig>,
    count: &AtomicUsize,
    ended: &AtomicBool,
) -> io::Result<()> {
    let port = u16::try_from(server).expect("a port");
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    }
    let mut request = [0; 8];
    client.read_exact(&mut request)?;
    if request != SSL_REQUEST {
        return client.shutdown(Shutdown::Both);
    }
    client.write_all(b"S")?;
    server.write_all(&SSL_REQUEST)?;
    let mut answer = [0];
    server.read_exact(&mut answer)?;
    let mut near =
        StreamOwned::new(ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?, client);
    while near.conn.is_handshaking() {
        near.conn.complete_io(&mut near.sock)?;
    }
    let name = ServerName::try_from("kills.test").expect("a name");
    let far = ClientConnection::new(Arc::new(accepting_config()), name).map_err(io::Error::other)?;
    let mut far = StreamOwned::new(far, server);
    near.sock.set_read_timeout(Some(TURN))?;
    far.sock.set_read_timeout(Some(TURN))?;
    let mut buffer = vec![0; 16 << 10];
    while !ended.load(Ordering::Acquire) {
        let Some(length) = read(&mut near, &mut buffer)? else { return Ok(()) };
        count.fetch_add(length, Ordering::AcqRel);
        far.write_all(&buffer[..length])?;
        let Some(length) = read(&mut far, &mut buffer)? else { return near.sock.shutdown(Shutdown::Both) };
        near.write_all(&buffer[..length])?;
    }
    Ok(())
}

/// The bytes available now, or none at the end.
fn read(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match stream.read(buffer) {
        Ok(0) => Ok(None),
        Ok(length) => Ok(Some(length)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Ok(Some(0))
        }
        Err(error) => Err(error),
    }
}

#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn accepting_config() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate))
        .with_no_client_auth()
}

/// Accepts every certificate.
#[derive(Debug)]
struct AcceptAnyCertificate;

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
