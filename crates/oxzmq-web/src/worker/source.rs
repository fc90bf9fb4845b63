//! Where content comes from.

use std::fs::File;
use std::io;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;

/// A file, or a page that was made for this answer.
#[derive(Debug)]
pub(super) enum Source {
    File(File),
    Page(Bytes),
}

impl Source {
    /// Exactly `length` octets from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file has become shorter, or what the system says.
    pub(super) fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        match self {
            Self::File(file) => read_file(file, offset, length),
            Self::Page(page) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let end = start.saturating_add(length);
                if end > page.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(page.slice(start..end)) }
            }
        }
    }
}

fn read_file(file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(length);
    while piece.len() < length {
        let at = offset + piece.len() as u64;
        match rustix::io::pread(file, spare_capacity(&mut piece), at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    piece.truncate(length); // the allocator may have given more room than was asked for
    Ok(piece.into())
}
