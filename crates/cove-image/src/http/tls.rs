//! TLS towards one host: which authorities are believed and who we are.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::environment::Environment;
use crate::files;

/// Why certs.d cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file holds no PEM of the expected kind.
    #[error("no usable PEM in {}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate without its key, or the reverse.
    #[error("missing {} beside {}", missing.display(), path.display())]
    Pair {
        /// The file that is there.
        path: PathBuf,
        /// The one that is not.
        missing: PathBuf,
    },
    /// The key does not belong to the certificate or is of no known kind.
    #[error("cannot use the client certificate {}", path.display())]
    Client {
        /// The certificate.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// ureq cannot take the key.
    #[error("cannot use the client key {}", path.display())]
    Key {
        /// The key.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<ureq::Error>,
    },
}

/// The system's authorities, read at the first TLS connection.
static SYSTEM: LazyLock<Vec<Certificate<'static>>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    found
        .certs
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect()
});

/// The settings for one `host[:port]`: the system's authorities (Mozilla's
/// where the system has none), `*.crt` of its certs.d directories beside
/// them, and the first `*.cert` with its `*.key` as our own certificate.
pub(crate) fn settings(
    environment: &Environment,
    authority: &str,
    verify: bool,
) -> Result<TlsConfig, CertificateError> {
    let mut roots = Vec::new();
    let mut client = None;
    for directory in directories(environment, authority) {
        for path in list(&directory, ".crt")? {
            for certificate in certificates(&path)? {
                roots.push(Certificate::from_der(&certificate).to_owned());
            }
        }
        for path in list(&directory, ".cert")? {
            let key = path.with_extension("key");
            if client.is_none() {
                client = Some(client_certificate(&path, &key)?);
            }
        }
        for path in list(&directory, ".key")? {
            let missing = path.with_extension("cert");
            if !missing.exists() {
                return Err(CertificateError::Pair { path, missing });
            }
        }
    }
    let builder = TlsConfig::builder()
        .client_cert(client)
        .disable_verification(!verify);
    let builder = if !verify || (SYSTEM.is_empty() && roots.is_empty()) {
        builder.root_certs(RootCerts::WebPki)
    } else {
        roots.extend(SYSTEM.iter().cloned());
        builder.root_certs(RootCerts::from(roots))
    };
    Ok(builder.build())
}

fn directories(environment: &Environment, authority: &str) -> Vec<PathBuf> {
    let user = environment
        .user_containers()
        .map(|base| base.join("certs.d"));
    let system = ["etc/containers/certs.d", "etc/docker/certs.d"];
    let system = system.map(|path| environment.system(path));
    user.into_iter()
        .chain(system)
        .map(|base| base.join(authority))
        .collect()
}

fn list(directory: &std::path::Path, suffix: &str) -> Result<Vec<PathBuf>, CertificateError> {
    files::list(directory, suffix).map_err(|source| CertificateError::Read {
        path: directory.to_owned(),
        source,
    })
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, CertificateError> {
    let fail = |source| CertificateError::Read {
        path: path.to_owned(),
        source,
    };
    files::read_bytes(path)
        .map_err(fail)?
        .ok_or_else(|| fail(std::io::ErrorKind::NotFound.into()))
}

fn certificates(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| CertificateError::Pem {
            path: path.to_owned(),
            source,
        })
}

fn client_certificate(
    path: &std::path::Path,
    key: &std::path::Path,
) -> Result<ClientCert, CertificateError> {
    if !key.exists() {
        return Err(CertificateError::Pair {
            path: path.to_owned(),
            missing: key.to_owned(),
        });
    }
    let chain = certificates(path)?;
    let pem = read(key)?;
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|source| CertificateError::Pem {
        path: key.to_owned(),
        source,
    })?;
    // ureq would panic on a pair that does not fit, so try it first.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_client_auth_cert(chain.clone(), private)
        })
        .map_err(|source| CertificateError::Client {
            path: path.to_owned(),
            source,
        })?;
    let chain: Vec<_> = chain
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect();
    let private = PrivateKey::from_pem(&pem).map_err(|source| CertificateError::Key {
        path: key.to_owned(),
        source: Box::new(source),
    })?;
    Ok(ClientCert::new_with_certs(&chain, private))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_directories_are_errors_not_panics() {
        let root = tempfile::tempdir().unwrap();
        let environment = Environment::beneath(root.path());
        assert!(settings(&environment, "a.b", false).is_ok());
        let directory = root.path().join("etc/docker/certs.d/a.b:5000");
        std::fs::create_dir_all(&directory).unwrap();
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(directory.join("client.cert"), pem).unwrap();
        let error = settings(&environment, "a.b:5000", true).unwrap_err();
        assert!(matches!(error, CertificateError::Pair { .. }), "{error}");
        std::fs::write(directory.join("client.key"), "no key").unwrap();
        let error = settings(&environment, "a.b:5000", true).unwrap_err();
        assert!(matches!(error, CertificateError::Pem { .. }), "{error}");
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        std::fs::write(directory.join("client.key"), key).unwrap();
        let error = settings(&environment, "a.b:5000", true).unwrap_err();
        assert!(matches!(error, CertificateError::Client { .. }), "{error}");
        std::fs::remove_file(directory.join("client.cert")).unwrap();
        let error = settings(&environment, "a.b:5000", true).unwrap_err();
        assert!(matches!(error, CertificateError::Pair { .. }), "{error}");
    }
}
