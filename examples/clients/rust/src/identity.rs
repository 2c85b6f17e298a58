//! Who this peer is: a key, and a self-signed certificate for it.

use crate::Result;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{fs, io::Write, path::Path};
use time::{Duration, OffsetDateTime};

pub struct Identity {
    pub email: String,
    pub certificate_pem: String,
    pub key_pem: String,
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads the key and certificate, or makes them at the first start. Anyone who holds the key is this peer.
    pub fn load_or_create(dir: &Path, email: &str) -> Result<Self> {
        let (certificate_file, key_file) = (dir.join("cert.pem"), dir.join("key.pem"));
        if !certificate_file.exists() {
            let key = KeyPair::generate()?; // P-256
            let certificate = parameters(email)?.self_signed(&key)?;
            fs::create_dir_all(dir)?;
            new_private_file(&key_file)?.write_all(key.serialize_pem().as_bytes())?;
            fs::write(&certificate_file, certificate.pem())?;
        }
        let (certificate_pem, key_pem) = (
            fs::read_to_string(certificate_file)?,
            fs::read_to_string(key_file)?,
        );
        Ok(Self {
            email: email.to_owned(),
            certificate: CertificateDer::from_pem_slice(certificate_pem.as_bytes())?,
            key: PrivateKeyDer::from_pem_slice(key_pem.as_bytes())?,
            certificate_pem,
            key_pem,
        })
    }
}

fn parameters(email: &str) -> Result<CertificateParams> {
    let mut parameters = CertificateParams::default();
    let common_name: String = email.chars().take(64).collect(); // X.509 allows no more
    parameters
        .distinguished_name
        .push(DnType::CommonName, common_name);
    parameters.subject_alt_names = vec![SanType::Rfc822Name(email.try_into()?)];
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // A peer is a server to those who call it and a client to those it calls.
    parameters.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    parameters.not_before = OffsetDateTime::now_utc() - Duration::days(1); // other machines' clocks may be slow
    parameters.not_after = OffsetDateTime::now_utc() + Duration::days(365);
    Ok(parameters)
}

/// Never replaces a key, which may be registered.
fn new_private_file(path: &Path) -> std::io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// How the tracker names a certificate: the SHA-256 of its DER in base64url.
pub fn fingerprint_of(certificate: &CertificateDer) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, certificate))
}
