"""Who this peer is: a key, and a self-signed certificate for it."""

import base64
import datetime
import hashlib
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def fingerprint_of(der):
    """How the tracker names a certificate: the SHA-256 of its DER in base64url."""
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def create_identity(cert_file, key_file, email):
    """A key and a self-signed certificate for it. Anyone who holds the key is this peer, so none is ever replaced."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, email[:64])])  # X.509 allows no more
    now = datetime.datetime.now(datetime.timezone.utc)
    other_usages = ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
                    "crl_sign", "encipher_only", "decipher_only"]
    usage = x509.KeyUsage(digital_signature=True, **dict.fromkeys(other_usages, False))
    # A peer is a server to those who call it and a client to those it calls.
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))  # other machines' clocks may be slow
    builder = builder.not_valid_after(now + datetime.timedelta(days=365))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(usage, critical=True).add_extension(purposes, critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(email)]), critical=False)
    pem = serialization.Encoding.PEM
    os.makedirs(os.path.dirname(key_file), mode=0o700, exist_ok=True)
    with open(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    with open(cert_file, "wb") as file:
        file.write(builder.sign(key, hashes.SHA256()).public_bytes(pem))
