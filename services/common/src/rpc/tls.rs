//! TLS between services: who they are, and whom they believe.

use std::{fmt, fs, path::Path, time::Duration};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, Server, ServerTlsConfig};

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Certificates and a key, as they were when the process started: a new one is read by the next start.
#[derive(Clone, Default)]
pub struct GrpcTls {
    /// This part's certificate and key.
    identity: Option<Identity>,
    /// Who signed the certificates of those it calls.
    ca: Option<Certificate>,
    /// Who signed the certificates of those it serves.
    client_ca: Option<Certificate>,
}

impl fmt::Debug for GrpcTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrpcTls(…)")
    }
}

/// The files that are given.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "as in GrpcTls, which documents them")]
pub struct GrpcTlsFiles<'a> {
    pub cert: Option<&'a Path>,
    pub key: Option<&'a Path>,
    pub ca: Option<&'a Path>,
    pub client_ca: Option<&'a Path>,
}

impl GrpcTls {
    /// Reads the files.
    ///
    /// # Errors
    /// All that is wrong with them, each under the name of its setting.
    pub fn read(files: GrpcTlsFiles<'_>) -> Result<Self, Vec<(&'static str, String)>> {
        let mut wrong = Vec::new();
        let mut keep = |name, pem: Result<Option<Vec<u8>>, String>| {
            pem.unwrap_or_else(|message| {
                wrong.push((name, message));
                None
            })
        };
        let cert = keep(CERT, read(files.cert, certificates));
        let key = keep(KEY, read(files.key, private_key));
        let ca = keep(CA, read(files.ca, certificates));
        let client_ca = keep(CLIENT_CA, read(files.client_ca, certificates));
        for (name, given, needed, other) in [
            (CERT, files.key, files.cert, KEY),
            (KEY, files.cert, files.key, CERT),
            (CERT, files.client_ca, files.cert, CLIENT_CA),
        ] {
            if given.is_some() && needed.is_none() {
                wrong.push((name, format!("is needed beside {other}")));
            }
        }
        let read = Self {
            identity: cert
                .zip(key)
                .map(|(cert, key)| Identity::from_pem(cert, key)),
            ca: ca.map(Certificate::from_pem),
            client_ca: client_ca.map(Certificate::from_pem),
        };
        if let Some(tls) = read.server()
            && Server::builder().tls_config(tls).is_err()
        {
            wrong.push((KEY, format!("is not the key of {CERT}")));
        }
        if wrong.is_empty() {
            Ok(read)
        } else {
            Err(wrong)
        }
    }

    /// How to call `host`.
    pub(super) fn client(&self, host: &str) -> ClientTlsConfig {
        let mut config = ClientTlsConfig::new().domain_name(host);
        if let Some(ca) = &self.ca {
            config = config.ca_certificate(ca.clone());
        }
        if let Some(identity) = &self.identity {
            config = config.identity(identity.clone());
        }
        config
    }

    /// How to serve; without TLS where there is no certificate.
    pub(super) fn server(&self) -> Option<ServerTlsConfig> {
        let config = ServerTlsConfig::new()
            .identity(self.identity.clone()?)
            .timeout(HANDSHAKE_TIMEOUT);
        Some(match &self.client_ca {
            Some(ca) => config.client_ca_root(ca.clone()),
            None => config,
        })
    }
}

const CERT: &str = "GRPC_TLS_CERT_FILE";
const KEY: &str = "GRPC_TLS_KEY_FILE";
const CA: &str = "GRPC_TLS_CA_FILE";
const CLIENT_CA: &str = "GRPC_TLS_CLIENT_CA_FILE";

/// A file's content, if it is what it should be.
fn read(
    path: Option<&Path>,
    check: impl Fn(&[u8]) -> Result<(), &'static str>,
) -> Result<Option<Vec<u8>>, String> {
    let Some(path) = path else { return Ok(None) };
    let pem = fs::read(path).map_err(|source| format!("cannot be read: {source}"))?;
    check(&pem)?;
    Ok(Some(pem))
}

fn certificates(pem: &[u8]) -> Result<(), &'static str> {
    const MESSAGE: &str = "expected a file of certificates in PEM";
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| MESSAGE)?;
        store.add(certificate).map_err(|_| MESSAGE)?;
    }
    if store.is_empty() {
        Err(MESSAGE)
    } else {
        Ok(())
    }
}

fn private_key(pem: &[u8]) -> Result<(), &'static str> {
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(_) => Ok(()),
        Err(_) => Err("expected a file with a private key in PEM"),
    }
}
