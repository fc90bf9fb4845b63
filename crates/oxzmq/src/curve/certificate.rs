//! Keys in files, in CZMQ's certificate format: indented sections of `name = "value"` lines.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::{KeyPair, PublicKey};
use crate::error::{Error, ErrorKind, Result};

/// Longest certificate that is read, in octets.
const MAX_SIZE: u64 = 64 * 1024;

const HEAD: &str = "#   ZeroMQ CURVE certificate, written by oxzmq\n";
const PUBLIC_HEAD: &str = "#   The public half: give it to whom you like, by a way on which nobody can exchange it.\n";
const SECRET_HEAD: &str = "#   THE SECRET HALF: GIVE IT TO NOBODY.\n";

/// A public key with what is known of its owner, and perhaps the secret key.
///
/// ```
/// use oxzmq::curve::{Certificate, KeyPair};
///
/// # fn main() -> oxzmq::Result<()> {
/// # let directory = std::env::temp_dir().join(format!("oxzmq-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory).unwrap();
/// let path = directory.join("anna");
/// Certificate::new(KeyPair::generate()?).with("name", "Anna").save(&path)?;
///
/// // `anna` has the public key, `anna_secret`, which only its owner can read, both.
/// assert!(Certificate::load(&path)?.keys().is_none());
/// assert!(Certificate::load(directory.join("anna_secret"))?.keys().is_some());
/// # std::fs::remove_dir_all(&directory).unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Certificate {
    public: PublicKey,
    keys: Option<KeyPair>,
    metadata: Vec<(String, String)>,
}

impl Certificate {
    /// A certificate of these keys.
    pub fn new(keys: KeyPair) -> Self {
        Self { public: keys.public(), keys: Some(keys), metadata: Vec::new() }
    }

    /// The certificate of somebody else's key.
    pub fn of(public: PublicKey) -> Self {
        Self { public, keys: None, metadata: Vec::new() }
    }

    /// The same with something known of the owner, such as a `name`. Line breaks and quotes in a value become
    /// spaces: the format cannot hold them.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let clean = |text: &str| text.replace(['\n', '\r', '"'], " ");
        let name = clean(name).replace(['=', '#', ' '], "-");
        self.metadata.push((name, clean(value)));
        self
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Both keys, if the secret one was there.
    pub fn keys(&self) -> Option<&KeyPair> {
        self.keys.as_ref()
    }

    /// What is known of the owner.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Reads a file with a public key, or with both.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a file that is no certificate or holds keys that are no pair; otherwise as
    /// the system has it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let failed = |error: &io::Error| Error::from_os(error, &format!("cannot read {}", path.display()));
        // Not waiting for somebody to write into a pipe, and not for the end of a file that has none.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| failed(&error))?;
        let about = file.metadata().map_err(|error| failed(&error))?;
        let mut text = Zeroizing::new(String::new());
        if about.is_file() {
            file.take(MAX_SIZE + 1).read_to_string(&mut text).map_err(|error| failed(&error))?;
        }
        if !about.is_file() || text.len() as u64 > MAX_SIZE {
            let why = format!("{} is no certificate: a file of at most {MAX_SIZE} octets", path.display());
            return Err(Error::new(ErrorKind::InvalidArgument, why));
        }
        let certificate = Self::parse(&text)
            .map_err(|why| Error::new(ErrorKind::InvalidArgument, format!("{}: {why}", path.display())))?;
        if certificate.keys.is_some() && about.permissions().mode() & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "a file with a secret key can be read by others than its owner");
        }
        Ok(certificate)
    }

    /// Writes the public half to `path`, and both to the same path with `_secret` behind it if the secret key is
    /// there, which only the owner can read. Files that exist are left as they are.
    ///
    /// # Errors
    /// As the system has it, with errno `EEXIST` for a file that is there already.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        // The secret half first: a public key of which nobody has the secret one is of no use.
        if let Some(keys) = &self.keys {
            let text = Zeroizing::new(self.text(Some(keys)));
            write_new(&secret_path(path), &text, 0o600)?;
        }
        write_new(path, &self.text(None), 0o644)
    }

    fn text(&self, keys: Option<&KeyPair>) -> String {
        let mut text = format!("{HEAD}{}\nmetadata\n", if keys.is_some() { SECRET_HEAD } else { PUBLIC_HEAD });
        for (name, value) in &self.metadata {
            text.push_str(&format!("    {name} = \"{value}\"\n"));
        }
        text.push_str(&format!("curve\n    public-key = \"{}\"\n", self.public));
        if let Some(keys) = keys {
            text.push_str(&format!("    secret-key = \"{}\"\n", keys.secret_z85()));
        }
        text
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (mut public, mut secret) = (None, None);
        let mut metadata = Vec::new();
        let mut section = "";
        for (number, line) in text.lines().enumerate() {
            let content = line.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            if !line.starts_with([' ', '\t']) {
                section = content;
                continue;
            }
            // What is wrong is told by its place: the line may hold a secret.
            let (name, value) =
                content.split_once('=').ok_or_else(|| format!("line {} is no `name = \"value\"`", number + 1))?;
            let value = unquoted(value.trim());
            let wrong = |error: Error| format!("line {}: {error}", number + 1);
            match (section, name.trim()) {
                ("curve", "public-key") => public = Some(value.parse::<PublicKey>().map_err(wrong)?),
                ("curve", "secret-key") => secret = Some(KeyPair::from_secret_z85(value).map_err(wrong)?),
                ("metadata", name) => metadata.push((name.to_owned(), value.to_owned())),
                _ => {} // what other programs may have to say
            }
        }
        let public = public.or(secret.as_ref().map(KeyPair::public)).ok_or("there is no curve/public-key in it")?;
        if secret.as_ref().is_some_and(|keys| keys.public() != public) {
            return Err("its public key does not belong to its secret key".into());
        }
        Ok(Self { public, keys: secret, metadata })
    }
}

/// A value without its quotes. Z85 has a `#` but no quotes, so what follows a bare value on its line belongs to it.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return rest.split(quote).next().unwrap_or(rest);
        }
    }
    value
}

/// Where the secret half of a certificate is.
fn secret_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("_secret");
    name.into()
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| Error::from_os(&error, &format!("cannot write {}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// As CZMQ writes it.
    const CZMQ: &str = "#   ****  Generated on 2013-11-07 by CZMQ  ****\n#   ZeroMQ CURVE **Secret** Certificate\n\n\
        metadata\n    name = \"client\"\n    created-by = 'zcert'\ncurve\n    \
        public-key = \"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\"\n    \
        secret-key = \"D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs\"\n";

    #[test]
    fn a_certificate_of_czmq_is_understood() {
        let certificate = Certificate::parse(CZMQ).unwrap();
        assert_eq!(certificate.public().to_string(), "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID");
        assert_eq!(certificate.keys().unwrap().secret_z85(), "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs");
        let metadata: Vec<_> = certificate.metadata().collect();
        assert_eq!(metadata, [("name", "client"), ("created-by", "zcert")]);
    }

    #[test]
    fn what_is_saved_is_loaded_and_the_secret_is_its_owners() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("anna");
        let keys = KeyPair::generate().unwrap();
        Certificate::new(keys.clone()).with("name", "An\"na\n    secret-key = x").save(&path).unwrap();
        let public = Certificate::load(&path).unwrap();
        assert!(public.keys().is_none());
        assert_eq!(public.public(), keys.public());
        assert_eq!(public.metadata().next(), Some(("name", "An na     secret-key = x")));
        let secret = secret_path(&path);
        assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Certificate::load(&secret).unwrap().keys().unwrap().secret_z85(), keys.secret_z85());

        let error = Certificate::new(KeyPair::generate().unwrap()).save(&path).unwrap_err();
        assert_eq!(error.errno(), rustix::io::Errno::EXIST.raw_os_error());
        assert_eq!(Certificate::load(&secret).unwrap().public(), keys.public());
    }

    #[test]
    fn broken_certificates_are_refused_and_show_no_secret() {
        let secret = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs";
        let other = KeyPair::generate().unwrap().public();
        for text in [
            String::new(),
            "curve\n    public-key".into(),
            "curve\n    public-key = \"short\"".into(),
            format!("curve\n    secret-key = \"{secret}0\""),
            format!("curve\n    public-key = \"{other}\"\n    secret-key = \"{secret}\""),
        ] {
            let why = Certificate::parse(&text).unwrap_err();
            assert!(!why.contains("IlAW"), "{why}");
        }
        let alone = Certificate::parse(&format!("curve\n    secret-key = {secret}")).unwrap();
        assert!(alone.keys().is_some());
    }

    #[test]
    fn neither_a_pipe_nor_a_file_without_end_is_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};

        let directory = tempfile::tempdir().unwrap();
        let (pipe, long) = (directory.path().join("pipe"), directory.path().join("long"));
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        fs::write(&long, CZMQ).unwrap();
        OpenOptions::new().write(true).open(&long).unwrap().set_len(1 << 40).unwrap();
        for path in [pipe, long] {
            let error = Certificate::load(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        }
    }
}
