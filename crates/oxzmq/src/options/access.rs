//! Options by number and by name.

use super::table::{Get, Set};
use super::{OptionInfo, OptionValue};
use crate::error::{Error, ErrorKind, Result};
use crate::socket::Socket;

/// # Options by number
///
/// The same options, for callers that have a number: the C API, configuration files, command lines.
impl Socket {
    /// Sets an option. Nothing has changed after an error.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a value of another kind or out of range, and for options that the socket
    /// type lacks or that can only be read; [`ErrorKind::Terminated`].
    ///
    /// ```
    /// use oxzmq::{Context, OptionInfo, SocketType};
    ///
    /// # fn main() -> oxzmq::Result<()> {
    /// let socket = Context::new().socket(SocketType::Push)?;
    /// let linger = OptionInfo::by_name("LINGER").expect("there is one");
    /// socket.set_option(linger, 250)?;
    /// assert_eq!(socket.linger(), Some(std::time::Duration::from_millis(250)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_option(&self, option: &OptionInfo, value: impl Into<OptionValue>) -> Result<()> {
        self.core().check_alive()?;
        self.check_type(option)?;
        let value = value.into();
        if !option.kind.admits(&value) {
            return Err(invalid(format!("{} is {}", option.name, option.kind.describe())));
        }
        match option.set {
            Set::No => Err(invalid(format!("{} can only be read", option.name))),
            Set::Field(set) => self.core().set_options(|options| {
                set(options, value);
                Ok(())
            }),
            Set::Socket(set) => set(self, value),
        }
    }

    /// Reads an option.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for options that can only be set, and for those that can only be read and that the
    /// socket type lacks; [`ErrorKind::Terminated`].
    pub fn option(&self, option: &OptionInfo) -> Result<OptionValue> {
        self.core().check_alive()?;
        if !option.is_settable() {
            self.check_type(option)?;
        }
        match option.get {
            Get::No => Err(invalid(format!("{} can only be set", option.name))),
            Get::Field(get) => Ok(self.core().options(get)),
            Get::Socket(get) => get(self),
        }
    }

    fn check_type(&self, option: &OptionInfo) -> Result<()> {
        let socket_type = self.socket_type();
        if option.is_for(socket_type) {
            return Ok(());
        }
        Err(invalid(format!("{socket_type} sockets have no {}", option.name)))
    }
}

fn invalid(why: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, why)
}
