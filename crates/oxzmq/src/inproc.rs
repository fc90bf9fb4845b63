//! `inproc://`: two sockets of one context joined by a pair of queues. No descriptor, no thread, no bytes.
//!
//! Connecting before binding is allowed: the connecter's queues exist at once and wait in the registry for
//! somebody to bind the name.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use oxzmq_proto::{Kind, Message, SocketType};

use crate::context;
use crate::core::Core;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Options;
use crate::peer_info::Description;
use crate::peers::{FarEnd, Peer, PeerId};
use crate::queue::Queue;

/// The names bound in a context, and the connecters that wait for a name.
#[derive(Default)]
pub(crate) struct Registry {
    bound: HashMap<String, Binder>,
    pending: HashMap<String, Vec<Half>>,
}

/// What a binder's later peers get: its options at the time of the bind.
#[derive(Clone)]
struct Binder {
    core: Weak<Core>,
    settings: Settings,
}

/// What one end brings to a pair.
#[derive(Clone, Default)]
struct Settings {
    send_hwm: usize,
    recv_hwm: usize,
    routing_id: Bytes,
    /// Changes of subscription and group mean something to it.
    hears_changes: bool,
    hello: Option<Message>,
    /// Delivered to a binder when its partner leaves.
    parting: Vec<Message>,
}

impl Settings {
    fn of(options: &Options, socket_type: SocketType) -> Self {
        Self {
            hello: options.hello(socket_type),
            // Being told of connections and their loss is for networks.
            parting: options.parting(socket_type, true).into_iter().filter(|message| message.byte_len() > 0).collect(),
            hears_changes: matches!(socket_type, SocketType::Pub | SocketType::Xpub | SocketType::Radio),
            send_hwm: options.send_hwm as usize,
            recv_hwm: options.recv_hwm as usize,
            routing_id: options.routing_id.clone(),
        }
    }
}

/// A connecter's half of a pair.
struct Half {
    core: Weak<Core>,
    id: PeerId,
    settings: Settings,
    /// From the connecter, and to it.
    outbound: Arc<Queue>,
    inbound: Arc<Queue>,
    /// The binder's end, as the connecter sees it; nobody is behind it yet.
    binder_end: Arc<End>,
}

/// One end of a pair, as the other end sees it.
struct End {
    /// The name that joins them.
    name: Arc<str>,
    /// The end that looks at this one has bound the name.
    accepted: bool,
    core: OnceLock<Weak<Core>>,
    id: OnceLock<PeerId>,
    /// The high-water marks of this end, once known: both ends' count together.
    settings: OnceLock<Settings>,
    /// The end that looks at this one.
    other: Weak<Core>,
    other_id: OnceLock<PeerId>,
    /// What this end, a binder, is to receive when the other leaves.
    parting: OnceLock<Vec<Message>>,
}

impl End {
    fn new(other: &Arc<Core>, name: Arc<str>, accepted: bool) -> Arc<Self> {
        Arc::new(Self {
            name,
            accepted,
            core: OnceLock::new(),
            id: OnceLock::new(),
            settings: OnceLock::new(),
            other: Arc::downgrade(other),
            other_id: OnceLock::new(),
            parting: OnceLock::new(),
        })
    }

    fn target(&self) -> Option<(Arc<Core>, PeerId)> {
        let core = self.core.get()?.upgrade()?;
        Some((core, *self.id.get()?))
    }
}

impl FarEnd for End {
    fn data_ready(self: Arc<Self>) {
        if let Some((core, id)) = self.target() {
            core.peer_readable(id);
        }
    }

    fn room_ready(self: Arc<Self>) {
        if let Some((core, id)) = self.target() {
            core.peer_writable(id);
        }
    }

    fn close(self: Arc<Self>) {
        let closing = self.other.upgrade().zip(self.other_id.get().copied());
        if let Some((core, id)) = self.target() {
            if let Some(parting) = self.parting.get() {
                core.deliver(id, parting);
            }
            core.detach(id);
            // A socket that is closed will never read them, and only who sent them is there to be told.
            if let Some((closing, id)) = &closing {
                core.count_lost(closing.never_read(*id));
            }
        }
        if let Some((core, id)) = closing {
            core.detach(id);
        }
    }

    fn describe(&self) -> Description {
        Description { endpoint: format!("inproc://{}", self.name), accepted: self.accepted, ..Description::default() }
    }

    fn capacities(&self, send_hwm: usize, recv_hwm: usize) -> (usize, usize) {
        match self.settings.get() {
            Some(far) => (both(send_hwm, far.recv_hwm), both(recv_hwm, far.send_hwm)),
            None => (send_hwm, recv_hwm),
        }
    }
}

/// How many messages a queue holds that nobody will take, subscriptions not counted.
fn messages_in(queue: &Queue) -> u64 {
    queue.clear().iter().filter(|message| message.kind() == Kind::Data).count() as u64
}

/// The capacity of a queue between two ends: the sum of their high-water marks, without limit when either
/// has none.
fn both(send_hwm: usize, recv_hwm: usize) -> usize {
    if send_hwm == 0 || recv_hwm == 0 { 0 } else { send_hwm.saturating_add(recv_hwm) }
}

pub(crate) fn bind(core: &Arc<Core>, name: &str) -> Result<()> {
    let settings = core.options(|options| Settings::of(options, core.socket_type));
    let waiting = {
        let mut registry = core.context.inproc.lock();
        if registry.bound.get(name).is_some_and(|binder| binder.core.strong_count() > 0) {
            let why = format!("inproc://{name} is already bound in this context");
            return Err(Error::new(ErrorKind::AddressInUse, why));
        }
        let binder = Binder { core: Arc::downgrade(core), settings: settings.clone() };
        registry.bound.insert(name.to_owned(), binder);
        registry.pending.remove(name).unwrap_or_default()
    };
    for half in waiting {
        join(half, core, &settings);
    }
    Ok(())
}

pub(crate) fn is_bound(context: &context::Inner, name: &str) -> bool {
    context.inproc.lock().bound.get(name).is_some_and(|binder| binder.core.strong_count() > 0)
}

pub(crate) fn unbind(core: &Core, name: &str) {
    let mut registry = core.context.inproc.lock();
    if registry.bound.get(name).is_some_and(|binder| std::ptr::eq(binder.core.as_ptr(), core)) {
        registry.bound.remove(name);
    }
}

/// Connects, at once or when somebody binds the name, and returns the connecter's peer.
pub(crate) fn connect(core: &Arc<Core>, name: &str, routing_id: Bytes) -> Result<PeerId> {
    let (settings, conflate) =
        core.options(|options| (Settings::of(options, core.socket_type), options.conflates(core.socket_type)));
    let outbound = Arc::new(Queue::packing(settings.send_hwm, conflate));
    let inbound = Arc::new(Queue::packing(settings.recv_hwm, conflate));
    let binder_end = End::new(core, name.into(), false);
    let far: Arc<dyn FarEnd> = Arc::clone(&binder_end) as _;
    let mut peer = Peer::new(Arc::clone(&outbound), Arc::clone(&inbound), far, settings.recv_hwm);
    peer.routing_id = routing_id;
    let id = core.attach(peer, None).ok_or(ErrorKind::Closed)?;
    let _ = binder_end.other_id.set(id);
    let half = Half { core: Arc::downgrade(core), id, settings, outbound, inbound, binder_end };
    let binder = {
        let mut registry = core.context.inproc.lock();
        let binder = registry.bound.get(name).cloned();
        match binder.and_then(|binder| Some((binder.core.upgrade()?, binder.settings))) {
            Some(binder) => Some((binder, half)),
            None => {
                registry.pending.entry(name.to_owned()).or_default().push(half);
                None
            }
        }
    };
    if let Some(((binder, settings), half)) = binder {
        join(half, &binder, &settings);
    }
    Ok(id)
}

/// Takes back a connect that still waits for its name, with what was sent to there.
pub(crate) fn cancel(core: &Core, name: &str, id: PeerId) {
    let cancelled = {
        let mut registry = core.context.inproc.lock();
        let Some(waiting) = registry.pending.get_mut(name) else { return };
        let is_it = |half: &Half| half.id == id && std::ptr::eq(half.core.as_ptr(), core);
        let cancelled = waiting.iter().position(is_it).map(|at| waiting.remove(at));
        if waiting.is_empty() {
            registry.pending.remove(name);
        }
        cancelled
    };
    if let Some(half) = cancelled {
        half.outbound.close();
        core.count_lost(messages_in(&half.outbound));
    }
}

fn join(half: Half, binder: &Arc<Core>, settings: &Settings) {
    let Half { core, id, settings: connecter, outbound, inbound, binder_end } = half;
    let (to_binder, to_connecter) =
        (both(connecter.send_hwm, settings.recv_hwm), both(settings.send_hwm, connecter.recv_hwm));
    let room = outbound.set_capacity(to_binder);
    inbound.set_capacity(to_connecter);

    let connecter_end = End::new(binder, Arc::clone(&binder_end.name), true);
    let _ = connecter_end.core.set(core.clone());
    let _ = connecter_end.id.set(id);
    let _ = connecter_end.settings.set(connecter.clone());
    let far: Arc<dyn FarEnd> = Arc::clone(&connecter_end) as _;
    let mut peer = Peer::new(inbound, Arc::clone(&outbound), far, to_binder);
    peer.hears_changes = connecter.hears_changes;
    let Some(binder_id) = binder.attach(peer, None) else {
        // The binder closed this very moment: as if it had closed a moment later.
        if let Some(core) = core.upgrade() {
            core.detach(id);
            core.count_lost(messages_in(&outbound));
        }
        return;
    };
    let _ = connecter_end.other_id.set(binder_id);
    let _ = binder_end.core.set(Arc::downgrade(binder));
    let _ = binder_end.settings.set(settings.clone());
    let _ = binder_end.parting.set(settings.parting.clone());
    // From here on the connecter's pushes wake the binder; what was pushed before is looked for below.
    let _ = binder_end.id.set(binder_id);

    binder.link(binder_id, &connecter.routing_id, None, settings.hello.clone());
    let connecter_core = core.upgrade().filter(|core| core.has_peer(id));
    if let Some(core) = &connecter_core {
        core.set_far_end(id, to_connecter, settings.hears_changes);
        core.link(id, &settings.routing_id, None, connecter.hello.clone());
        if room {
            core.peer_writable(id);
        }
    }
    binder.peer_readable(binder_id);
    if connecter_core.is_none() {
        // It closed while it waited: what it had sent is there to be read, and nothing more will come.
        binder.detach(binder_id);
    }
}
