//! What stands for TLS where it is left out of the build: types that have no values.

use std::io;

use super::TlsOptions;
use crate::endpoint::Host;
use crate::error::{Error, ErrorKind, Result};

pub(crate) enum Tls {}

pub(crate) enum Stream {}

fn absent<T>() -> Result<T> {
    let why = "wss:// is left out of this build; it takes the crate feature `wss`";
    Err(Error::new(ErrorKind::UnknownTransport, why))
}

impl Tls {
    pub(crate) fn server(_options: &TlsOptions) -> Result<Self> {
        absent()
    }

    pub(crate) fn client(_options: &TlsOptions, _host: &Host) -> Result<Self> {
        absent()
    }

    pub(crate) fn begin(&self) -> io::Result<Stream> {
        match *self {}
    }
}

impl Stream {
    pub(crate) fn is_handshaking(&self) -> bool {
        match *self {}
    }

    pub(crate) fn wants_write(&self) -> bool {
        match *self {}
    }

    pub(crate) fn put(&mut self, _octets: &[u8]) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn end(&mut self) {
        match *self {}
    }

    pub(crate) fn write_to(&mut self, _writer: &mut dyn io::Write) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn read_from(&mut self, _reader: &mut dyn io::Read) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn take(&mut self, _octets: &mut Vec<u8>) -> std::result::Result<bool, String> {
        match *self {}
    }
}
