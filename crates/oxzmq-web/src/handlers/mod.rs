//! Programs that form whole responses by themselves, for paths that are not files.
//!
//! A [`Route`] gives the requests below a path to handlers of Mongrel2's protocol or to workers of Majordomo, as
//! they are: a handler written for Mongrel2 does not notice the difference.
//!
//! | module | duty |
//! |---|---|
//! | `mongrel2` | requests and replies as octets |
//! | `majordomo` | the broker's half of Majordomo 0.2 |
//! | `gate` | how requests get to either; the tasks with the sockets |
//! | `raw` | the head of a response as a handler writes it |

#[cfg(fuzzing)]
pub(crate) mod fuzzing;
pub(crate) mod gate;
mod majordomo;
mod mongrel2;
mod raw;

pub use mongrel2::Form;
pub(crate) use mongrel2::Request;
pub(crate) use raw::{Length, RawHead, parse};

/// Which requests go to handlers, and where the handlers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where the paths begin, such as `/app/`. The longest route that fits is taken.
    pub prefix: String,
    /// By which protocol, and at which endpoints.
    pub to: Handlers,
}

/// How handlers are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handlers {
    /// By Mongrel2's protocol.
    Mongrel2 {
        /// Where requests are pushed to handlers: Mongrel2's `send_spec`, an endpoint to bind.
        requests: String,
        /// Where replies are subscribed to: Mongrel2's `recv_spec`, an endpoint to bind.
        replies: String,
        /// What the server calls itself in requests: Mongrel2's `send_ident`.
        ident: String,
        /// How headers are written.
        form: Form,
    },
    /// By Majordomo 0.2.
    Majordomo {
        /// Where workers connect: an endpoint to bind.
        endpoint: String,
        /// The service that they offer.
        service: String,
    },
}

impl Handlers {
    /// What is bound.
    pub(crate) fn endpoints(&self) -> Vec<&str> {
        match self {
            Self::Mongrel2 { requests, replies, .. } => vec![requests, replies],
            Self::Majordomo { endpoint, .. } => vec![endpoint],
        }
    }
}

impl Route {
    /// Whether it is for this path: the prefix, and if that does not end in a slash, nothing or a slash after it.
    pub(crate) fn fits(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix(self.prefix.as_str()) else { return false };
        rest.is_empty() || self.prefix.ends_with('/') || rest.starts_with('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_a_part_of_the_path_ends() {
        let to = Handlers::Majordomo { endpoint: String::new(), service: String::new() };
        let route = |prefix: &str| Route { prefix: prefix.to_owned(), to: to.clone() };
        assert!(route("/app").fits("/app") && route("/app").fits("/app/x") && !route("/app").fits("/apple"));
        assert!(route("/app/").fits("/app/x") && !route("/app/").fits("/app"));
        assert!(route("/").fits("/anything"));
    }
}
