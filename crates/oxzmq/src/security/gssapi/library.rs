//! Contexts of the system's library.

use libgssapi::context::{ClientCtx, CtxFlags, SecurityContext as Established, ServerCtx};
use libgssapi::credential::{Cred, CredUsage};
use libgssapi::error::Error;
use libgssapi::name::Name;
use libgssapi::oid::{GSS_NT_HOSTBASED_SERVICE, GSS_NT_KRB5_PRINCIPAL, GSS_NT_USER_NAME};
use libgssapi::util::Buf;
use oxzmq_proto::gssapi::SecurityContext;

use super::{GssapiName, GssapiNameType};

/// A new connection's context. The credentials are looked up for each: tickets and key tables are renewed.
pub(super) fn context(
    is_server: bool,
    ours: &GssapiName,
    service: &GssapiName,
) -> Result<Box<dyn SecurityContext>, String> {
    let usage = if is_server { CredUsage::Accept } else { CredUsage::Initiate };
    let credentials = if ours.text.is_empty() {
        None
    } else {
        let name = import(ours)?;
        let acquired = Cred::acquire(Some(&name), None, usage, None);
        Some(acquired.map_err(|error| format!("no credentials for {ours}: {}", text(error)))?)
    };
    if is_server {
        return Ok(Box::new(Context {
            inner: ServerCtx::new(credentials),
            step: |server, token| server.step(token.unwrap_or_default(), None),
        }));
    }
    if service.text.is_empty() {
        return Err("a client has to name the service it talks to".to_owned());
    }
    let flags = CtxFlags::GSS_C_MUTUAL_FLAG | CtxFlags::GSS_C_REPLAY_FLAG | CtxFlags::GSS_C_CONF_FLAG;
    Ok(Box::new(Context {
        inner: ClientCtx::new(credentials, import(service)?, flags, None),
        step: |client, token| client.step(token, None),
    }))
}

fn import(name: &GssapiName) -> Result<Name, String> {
    let kind = match name.kind {
        GssapiNameType::HostBased => GSS_NT_HOSTBASED_SERVICE,
        GssapiNameType::User => GSS_NT_USER_NAME,
        GssapiNameType::Principal => GSS_NT_KRB5_PRINCIPAL,
    };
    Name::new(&name.text, Some(kind)).map_err(|error| format!("the name {name}: {}", text(error)))
}

fn text(error: Error) -> String {
    error.to_string().trim().to_owned()
}

/// A context of ours: both sides' are the library's, and differ in their steps only.
struct Context<C> {
    inner: C,
    step: fn(&mut C, Option<&[u8]>) -> Stepped,
}

type Stepped = Result<Option<Buf>, Error>;

impl<C: Established + Send> SecurityContext for Context<C> {
    fn step(&mut self, token: Option<&[u8]>) -> Result<Option<Vec<u8>>, String> {
        let answer = (self.step)(&mut self.inner, token).map_err(text)?;
        // What is asked for is no promise: a mechanism without encryption would send everything in the clear.
        if self.inner.is_complete() && !self.inner.flags().map_err(text)?.contains(CtxFlags::GSS_C_CONF_FLAG) {
            return Err("the mechanism that both sides have agreed on cannot encrypt".to_owned());
        }
        Ok(answer.map(|token| token.to_vec()))
    }

    fn is_complete(&self) -> bool {
        self.inner.is_complete()
    }

    fn client_name(&mut self) -> Result<Vec<u8>, String> {
        let name = self.inner.source_name().and_then(|name| name.display_name());
        name.map(|name| name.to_vec()).map_err(text)
    }

    fn wrap(&mut self, plain: &[u8]) -> Result<Vec<u8>, String> {
        self.inner.wrap(true, plain).map(|token| token.to_vec()).map_err(text)
    }

    fn unwrap(&mut self, token: &[u8]) -> Result<Vec<u8>, String> {
        self.inner.unwrap(token).map(|plain| plain.to_vec()).map_err(text)
    }
}
