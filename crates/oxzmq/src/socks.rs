//! The client's side of a SOCKS5 proxy (RFC 1928), with or without a user name and password (RFC 1929). Octets in,
//! octets out: reading and writing is the reactor's.

use std::fmt;

use zeroize::Zeroizing;

use crate::endpoint::{Host, HostPort};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
/// Version of the sub-negotiation for user name and password.
const PASSWORD_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Who to be for the proxy. Both have at most 255 octets, as the options' rows have it.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    pub(crate) username: Vec<u8>,
    pub(crate) password: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// A dialogue with a proxy that is to connect to `target`.
#[derive(Debug)]
pub(crate) struct Dialogue {
    step: Step,
    credentials: Credentials,
    target: HostPort,
    /// To be written.
    output: Vec<u8>,
    /// Read and not understood yet: at most one reply.
    input: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Waits for the choice of a method.
    Method,
    /// Waits to hear whether the password is right.
    Password,
    /// Waits to hear whether there is a connection.
    Connect,
    Done,
}

impl Dialogue {
    pub(crate) fn new(target: HostPort, credentials: Credentials) -> Self {
        let method = if credentials.username.is_empty() { NO_AUTHENTICATION } else { PASSWORD };
        let output = vec![VERSION, 1, method];
        Self { step: Step::Method, credentials, target, output, input: Vec::new() }
    }

    pub(crate) fn output(&self) -> &[u8] {
        &self.output
    }

    pub(crate) fn advance_output(&mut self, written: usize) {
        self.output.drain(..written);
    }

    /// The proxy has connected: what comes now is the target's.
    pub(crate) fn is_done(&self) -> bool {
        self.step == Step::Done
    }

    /// How many octets may be read now: never one that belongs to the target.
    pub(crate) fn wants(&self) -> usize {
        let whole = match self.step {
            Step::Method | Step::Password => 2,
            // Version, code, reserved, kind of address, its first octet; then what that says, and the port.
            Step::Connect => match self.input[..] {
                [_, _, _, IPV4, _, ..] => 4 + 4 + 2,
                [_, _, _, IPV6, _, ..] => 4 + 16 + 2,
                [_, _, _, NAME, length, ..] => 4 + 1 + usize::from(length) + 2,
                _ => 5,
            },
            Step::Done => 0,
        };
        whole.saturating_sub(self.input.len())
    }

    /// Takes what was read, at most [`Dialogue::wants`] octets.
    pub(crate) fn handle_input(&mut self, octets: &[u8]) -> Result<(), String> {
        self.input.extend_from_slice(octets);
        match (self.step, &self.input[..]) {
            (Step::Connect, [version, ..]) if *version != VERSION => return Err("its reply is not SOCKS5's".into()),
            (Step::Connect, [_, code, ..]) if *code != 0 => return Err(refusal(*code)),
            (Step::Connect, [_, _, _, kind, ..]) if ![IPV4, NAME, IPV6].contains(kind) => {
                return Err("its reply has an address of no known kind".into());
            }
            _ => {}
        }
        if self.wants() > 0 {
            return Ok(());
        }
        let reply = std::mem::take(&mut self.input);
        match (self.step, &reply[..]) {
            (Step::Method, [VERSION, NO_AUTHENTICATION]) => self.ask(),
            (Step::Method, [VERSION, PASSWORD]) if !self.credentials.username.is_empty() => {
                self.output.push(PASSWORD_VERSION);
                for text in [&self.credentials.username, &*self.credentials.password] {
                    self.output.push(text.len() as u8); // at most 255
                    self.output.extend_from_slice(text);
                }
                self.step = Step::Password;
            }
            (Step::Method, [VERSION, ..]) => return Err("it wants another kind of authentication".into()),
            (Step::Method, _) => return Err("it is no SOCKS5 proxy".into()),
            (Step::Password, [_, 0]) => self.ask(),
            (Step::Password, _) => return Err("it refuses the user name and password".into()),
            (Step::Connect | Step::Done, _) => self.step = Step::Done,
        }
        Ok(())
    }

    fn ask(&mut self) {
        self.output.extend_from_slice(&[VERSION, CONNECT, 0]);
        match &self.target.host {
            Host::Ip(std::net::IpAddr::V4(ip), _) => {
                self.output.push(IPV4);
                self.output.extend_from_slice(&ip.octets());
            }
            Host::Ip(std::net::IpAddr::V6(ip), _) => {
                self.output.push(IPV6);
                self.output.extend_from_slice(&ip.octets());
            }
            // Names are the proxy's to look up; longer ones than 255 octets were refused when connecting.
            Host::Name(name) => {
                self.output.extend_from_slice(&[NAME, name.len() as u8]);
                self.output.extend_from_slice(name.as_bytes());
            }
            Host::Any => {} // refused when parsed
        }
        self.output.extend_from_slice(&self.target.port.to_be_bytes());
        self.step = Step::Connect;
    }
}

fn refusal(code: u8) -> String {
    let why = match code {
        2 => "its rules do not allow the connection",
        3 => "the network cannot be reached",
        4 => "the host cannot be reached",
        5 => "the connection was refused",
        6 => "the time to live was over",
        7 => "it does not connect",
        8 => "it does not know this kind of address",
        _ => "general failure",
    };
    format!("{why} (code {code})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> HostPort {
        HostPort::parse(text, text, false).unwrap()
    }

    fn anna() -> Credentials {
        Credentials { username: b"anna".to_vec(), password: b"secret".to_vec().into() }
    }

    /// Plays the proxy's replies octet by octet; returns what was written, or the error.
    fn play(mut dialogue: Dialogue, replies: &[&[u8]]) -> Result<Vec<Vec<u8>>, String> {
        let mut said = vec![dialogue.output().to_vec()];
        for reply in replies {
            dialogue.advance_output(dialogue.output().len());
            for octet in *reply {
                assert!(dialogue.wants() > 0, "an octet too many is read");
                dialogue.handle_input(std::slice::from_ref(octet))?;
            }
            said.push(dialogue.output().to_vec());
        }
        assert_eq!(dialogue.is_done(), dialogue.wants() == 0);
        if dialogue.is_done() { Ok(said) } else { Err("not done".into()) }
    }

    #[test]
    fn an_address_is_asked_for_as_an_address_and_a_name_as_a_name() {
        let bound = [5, 0, 0, 1, 127, 0, 0, 1, 0x15, 0xb3];
        let said = play(Dialogue::new(target("127.0.0.1:5555"), Credentials::default()), &[&[5, 0], &bound]).unwrap();
        assert_eq!(said, [vec![5, 1, 0], vec![5, 1, 0, 1, 127, 0, 0, 1, 0x15, 0xb3], vec![]]);

        let named = [&[5, 0, 0, 3, 2][..], b"me", &[0, 1]].concat();
        let said = play(Dialogue::new(target("example.com:5555"), Credentials::default()), &[&[5, 0], &named]).unwrap();
        assert_eq!(said[1], [&[5, 1, 0, 3, 11][..], b"example.com", &[0x15, 0xb3]].concat());

        let six = [&[5, 0, 0, 4][..], &[0; 16], &[0, 1]].concat();
        let said = play(Dialogue::new(target("[::1]:80"), Credentials::default()), &[&[5, 0], &six]).unwrap();
        assert_eq!(said[1], [&[5, 1, 0, 4][..], &[0; 15], &[1, 0, 80]].concat());
    }

    #[test]
    fn a_password_is_given_to_who_asks_for_it() {
        let bound = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let said = play(Dialogue::new(target("1.2.3.4:5"), anna()), &[&[5, 2], &[1, 0], &bound]).unwrap();
        assert_eq!(said[0], [5, 1, 2]);
        assert_eq!(said[1], [&[1, 4][..], b"anna", &[6], b"secret"].concat());
        assert_eq!(said[2], [5, 1, 0, 1, 1, 2, 3, 4, 0, 5]);
        assert!(play(Dialogue::new(target("1.2.3.4:5"), anna()), &[&[5, 0], &bound]).is_ok());
        assert!(!format!("{:?}", Dialogue::new(target("1.2.3.4:5"), anna())).contains("secret"));
    }

    #[test]
    fn whatever_else_a_proxy_says_is_an_error_with_a_reason() {
        let plain = |replies: &[&[u8]]| play(Dialogue::new(target("1.2.3.4:5"), Credentials::default()), replies);
        for (replies, why) in [
            (&[&[4, 0][..]][..], "no SOCKS5"),
            (&[&[5, 2]], "another kind"),
            (&[&[5, 255]], "another kind"),
            (&[&[5, 0], &[5, 5]], "refused (code 5)"),
            (&[&[5, 0], &[5, 99]], "failure (code 99)"),
            (&[&[5, 0], &[4]], "not SOCKS5's"),
            (&[&[5, 0], &[5, 0, 0, 2]], "no known kind"),
            (&[&[5, 0], &[5, 0, 0, 1, 0, 0]], "not done"),
        ] {
            let error = plain(replies).unwrap_err();
            assert!(error.contains(why), "{replies:?}: {error}");
        }
        assert!(
            play(Dialogue::new(target("1.2.3.4:5"), anna()), &[&[5, 2], &[1, 1]]).unwrap_err().contains("password")
        );
    }
}
