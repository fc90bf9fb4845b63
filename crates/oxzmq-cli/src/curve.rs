//! Flags for CURVE that several commands have.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use oxzmq::Security;
use oxzmq::curve::{AllowedKeys, Certificate, KeyPair, PublicKey};

/// The side that others connect to
#[derive(clap::Args, Debug, Default)]
pub struct ServerKeys {
    /// Encrypt what goes between master and workers, with the secret key in this file (see `oxzmq keygen`)
    #[arg(long, value_name = "FILE", requires = "curve_allow")]
    pub curve_key: Option<PathBuf>,
    /// Let in only those whose certificates are in this directory; it is looked at every second, and a worker whose
    /// certificate has gone is cut off
    #[arg(long, value_name = "DIR", requires = "curve_key")]
    pub curve_allow: Option<PathBuf>,
}

/// The side that connects
#[derive(clap::Args, Debug, Default)]
pub struct ClientKeys {
    /// Encrypt, and prove to be somebody by the secret key in this file (see `oxzmq keygen`)
    #[arg(long, value_name = "FILE", requires = "curve_server_key")]
    pub curve_key: Option<PathBuf>,
    /// The public key of the master, or a file with it: no other master is talked to
    #[arg(long, value_name = "KEY", requires = "curve_key")]
    pub curve_server_key: Option<String>,
}

impl ServerKeys {
    /// What the flags ask for; `None` without any.
    ///
    /// # Errors
    /// When a file cannot be read or is no certificate.
    pub fn load(&self) -> anyhow::Result<Option<(Security, AllowedKeys)>> {
        let (Some(key), Some(allow)) = (&self.curve_key, &self.curve_allow) else { return Ok(None) };
        let allowed = AllowedKeys::open(allow).context("--curve-allow")?;
        Ok(Some((Security::CurveServer(secret(key)?), allowed)))
    }
}

impl ClientKeys {
    /// What the flags ask for; `None` without any.
    ///
    /// # Errors
    /// When a file cannot be read or is no certificate.
    pub fn load(&self) -> anyhow::Result<Option<Security>> {
        let (Some(key), Some(server)) = (&self.curve_key, &self.curve_server_key) else { return Ok(None) };
        Ok(Some(Security::CurveClient { server: public(server)?, keys: secret(key)? }))
    }
}

fn secret(path: &Path) -> anyhow::Result<KeyPair> {
    let certificate = Certificate::load(path).context("--curve-key")?;
    let keys = certificate.keys().cloned();
    keys.with_context(|| {
        format!("--curve-key: there is no secret key in {}; the file's name usually ends in _secret", path.display())
    })
}

/// A key as it is written, or the one in the file of that name.
fn public(text: &str) -> anyhow::Result<PublicKey> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    Ok(Certificate::load(text)
        .context("--curve-server-key: neither a key of 40 characters nor a file with one")?
        .public())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_files_or_as_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("master");
        let keys = KeyPair::generate().unwrap();
        Certificate::new(keys.clone()).save(&file).unwrap();
        assert_eq!(public(&keys.public().to_string()).unwrap(), keys.public());
        assert_eq!(public(file.to_str().unwrap()).unwrap(), keys.public());
        assert!(public("nonsense").is_err());

        let error = secret(&file).unwrap_err().to_string();
        assert!(error.contains("_secret"), "{error}");
        let server = ServerKeys {
            curve_key: Some(directory.path().join("master_secret")),
            curve_allow: Some(directory.path().to_owned()),
        };
        let (security, allowed) = server.load().unwrap().unwrap();
        assert!(matches!(security, Security::CurveServer(server) if server.public() == keys.public()));
        assert!(allowed.contains(keys.public()));
        assert!(ServerKeys::default().load().unwrap().is_none());
        assert!(ClientKeys::default().load().unwrap().is_none());
    }
}
