//! Calls between peers: TLS in which both sides prove their certificates, then lines of text.

use crate::{
    Result,
    identity::{Identity, fingerprint_of},
    tracker::{Broadcast, Tracker, is_refusal},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// The callee's verdict, then what the peers like: here, lines of text.
const PROTOCOL: &[u8] = b"relay-peer/2";
const ACCEPTED: &str = "accepted\n";
const TIMEOUT: Duration = Duration::from_secs(10);
/// For a verdict or an answer, which may be a person's.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of the line with which a callee accepts or refuses.
const MAX_VERDICT: u64 = 64;
const MAX_LINE: u64 = 64 * 1024;

pub async fn accept(
    tracker: &Arc<Tracker>,
    identity: &Identity,
    listener: TcpListener,
) -> Result<()> {
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(Arc::new(PeerVerifier::any()))
        .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {}); // each caller proves its key again
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let room = Arc::new(Semaphore::new(64));
    loop {
        let permit = room.clone().acquire_owned().await?;
        let (stream, address) = listener.accept().await?;
        let (tracker, acceptor, email) =
            (tracker.clone(), acceptor.clone(), identity.email.clone());
        tokio::spawn(async move {
            match identify(&tracker, acceptor.accept(stream)).await {
                Ok((caller, connection)) => {
                    println!("{} called", caller.email);
                    let _ = serve(&email, &caller, connection).await; // an error means that the caller has gone
                }
                // Nothing is read from a caller that the tracker does not know.
                Err(error) => println!("refused a caller from {address}: {error}"),
            }
            drop(permit);
        });
    }
}

async fn identify(
    tracker: &Tracker,
    handshake: tokio_rustls::Accept<TcpStream>,
) -> Result<(Broadcast, server::TlsStream<TcpStream>)> {
    let mut connection = timeout(TIMEOUT, handshake).await??;
    let certificates = connection
        .get_ref()
        .1
        .peer_certificates()
        .unwrap_or_default();
    let certificate = certificates
        .first()
        .ok_or("the caller presented no certificate")?;
    let caller = tracker
        .lookup("fingerprint", &fingerprint_of(certificate))
        .await;
    let verdict = match &caller {
        Ok(_) => ACCEPTED,
        Err(error) if is_refusal(&**error, "peer_not_found") => "refused not_online\n",
        Err(_) => "refused unavailable\n",
    };
    connection.write_all(verdict.as_bytes()).await?;
    connection.flush().await?;
    if caller.is_err() {
        connection.shutdown().await?;
    }
    Ok((caller?, connection))
}

async fn serve(
    email: &str,
    caller: &Broadcast,
    connection: server::TlsStream<TcpStream>,
) -> Result<()> {
    let mut connection = BufReader::new(connection);
    loop {
        let mut line = String::new();
        if (&mut connection)
            .take(MAX_LINE)
            .read_line(&mut line)
            .await?
            == 0
        {
            return Ok(());
        }
        let text = line.trim_end();
        println!("{}: {text:?}", caller.email); // quoted: it may contain terminal escape sequences
        connection
            .write_all(format!("{email} has read {text:?}\n").as_bytes())
            .await?;
        connection.flush().await?;
    }
}

pub async fn call(tracker: &Tracker, identity: &Identity, email: &str, text: &str) -> Result<()> {
    tracker.own().await?; // peers accept calls only from those online, so `listen` must be running
    let connection = connect(&tracker.lookup("email", email).await?, identity).await?;
    let address = connection.get_ref().0.peer_addr()?;
    let mut connection = BufReader::new(connection);
    let mut verdict = String::new();
    let mut first_line = (&mut connection).take(MAX_VERDICT);
    let read = timeout(PATIENCE, first_line.read_line(&mut verdict)).await;
    // Nothing is sent before the callee has accepted.
    if let Some(reason) = verdict.strip_prefix("refused ") {
        return Err(format!("{email} refused the call: {:?}", reason.trim_end()).into());
    }
    if verdict != ACCEPTED {
        let silence = format!("{email} did not say whether it accepts the call");
        return Err(match read.map_err(io::Error::from).flatten() {
            Ok(_) => silence.into(),
            Err(error) => format!("{silence}: {error}").into(),
        });
    }
    println!("connected to {email} at {address}");
    connection.write_all(format!("{text}\n").as_bytes()).await?;
    connection.flush().await?;
    let mut answer = String::new();
    if timeout(PATIENCE, connection.take(MAX_LINE).read_line(&mut answer)).await?? == 0 {
        return Err(format!("{email} closed the connection without an answer").into());
    }
    println!("{email}: {:?}", answer.trim_end());
    Ok(())
}

/// Tries the peer's addresses in turn. (They could also be raced: RFC 8305.)
async fn connect(peer: &Broadcast, identity: &Identity) -> Result<client::TlsStream<TcpStream>> {
    let mut config = ClientConfig::builder()
        .dangerous() // no authority vouches for peers: the fingerprint decides, before anything is sent
        .with_custom_certificate_verifier(Arc::new(PeerVerifier::only(peer)))
        .with_client_auth_cert(vec![identity.certificate.clone()], identity.key.clone_key())?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let mut reasons = Vec::new();
    for address in &peer.addresses {
        let attempt = async {
            let stream = TcpStream::connect((*address, peer.port)).await?;
            connector.connect(ServerName::from(*address), stream).await
        };
        match timeout(TIMEOUT, attempt)
            .await
            .map_err(Into::into)
            .flatten()
        {
            Ok(connection) => return Ok(connection),
            Err(error) => reasons.push(format!("{address}: {error}")),
        }
    }
    Err(format!("could not reach {}: {}", peer.email, reasons.join("; ")).into())
}

/// Accepts the certificate with one fingerprint, or any certificate, whose owner the tracker then names. Either way the
/// handshake has to be signed with the certificate's key: a certificate is public, and alone proves nothing.
#[derive(Debug)]
struct PeerVerifier {
    expected: Option<Broadcast>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PeerVerifier {
    fn any() -> Self {
        Self {
            expected: None,
            algorithms: ring::default_provider().signature_verification_algorithms,
        }
    }

    fn only(peer: &Broadcast) -> Self {
        Self {
            expected: Some(peer.clone()),
            ..Self::any()
        }
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer,
        _: &[CertificateDer],
        _: &ServerName,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, Error> {
        match &self.expected {
            Some(peer) if peer.fingerprint != fingerprint_of(certificate) => Err(Error::General(
                format!("the peer that answered is not {}", peer.email),
            )),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer,
        _: &[CertificateDer],
        _: UnixTime,
    ) -> std::result::Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
