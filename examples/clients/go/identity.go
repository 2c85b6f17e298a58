package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// fingerprintOf is how the tracker names a certificate: the SHA-256 of its DER in base64url.
func fingerprintOf(der []byte) string {
	hash := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

// createIdentity makes a key and a self-signed certificate for it. Anyone who holds the key is this peer, so none is ever replaced.
func createIdentity(certFile, keyFile, email string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: email[:min(len(email), 64)]}, // X.509 allows no more
		NotBefore:             time.Now().AddDate(0, 0, -1),                       // other machines' clocks may be slow
		NotAfter:              time.Now().AddDate(1, 0, 0),
		BasicConstraintsValid: true, // and IsCA is false
		KeyUsage:              x509.KeyUsageDigitalSignature,
		// A peer is a server to those who call it and a client to those it calls.
		ExtKeyUsage:    []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		EmailAddresses: []string{email},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(keyFile), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(keyFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(
		pem.Encode(file, &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		file.Close(),
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644))
}
