//! The two sides of each case, the same for every contender.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;

use crate::sample::Sample;
use crate::{Case, Job, Kind, Kit, Socket};

/// Messages between two looks at the clock: rare enough not to be measured.
fn stride(size: usize) -> usize {
    (65_536 / size.max(1)).clamp(4, 256)
}

/// The side that binds. It returns if it measures or fails.
pub(crate) fn server<K: Kit>(kit: &K, job: &Job, bound: impl FnOnce(String) -> Result<()>) -> Result<Sample> {
    match job.case {
        Case::Flooded => return flooded_server(kit, job, bound),
        Case::Proxy => return kit.run(proxy(kit, job, bound)),
        _ => {}
    }
    kit.run(async {
        let (kind, peers) = match job.case {
            Case::Throughput | Case::Paced(_) => (Kind::Pull, 1),
            Case::Latency | Case::Handshakes | Case::Poll(_) => (Kind::Rep, 1),
            Case::Pubsub(peers) => (Kind::Pub, peers),
            Case::Subscriptions(_) => (Kind::Pub, 1),
            Case::Router(peers) => (Kind::Router, peers),
            Case::Flooded | Case::Proxy => bail!("handled above"),
        };
        let mut socket = kit.open(kind, peers)?;
        bound(socket.bind_at(&job.endpoint).await?)?;
        match job.case {
            Case::Throughput => count(&mut socket, job).await,
            Case::Paced(_) => receive_due(&mut socket, job).await,
            Case::Pubsub(_) => flood(kit, &mut socket, &[payload(job.size)]).await,
            Case::Subscriptions(count) => flood(kit, &mut socket, &topics(count)).await,
            _ => loop {
                socket.echo().await?;
            },
        }
    })
}

/// The side that connects. It returns if it measures or fails.
pub(crate) fn client<K: Kit>(kit: &K, job: &Job) -> Result<Sample> {
    let first = job.endpoint.split(',').next().unwrap_or_default();
    let second = job.endpoint.split(',').nth(1).unwrap_or_default();
    match job.case {
        Case::Throughput => kit.run(push(kit, first, job)),
        Case::Latency | Case::Handshakes => kit.run(async {
            if job.case == Case::Handshakes { handshakes(kit, job).await } else { ask(kit, first, job).await }
        }),
        Case::Pubsub(peers) => kit.run(subscribers(kit, job, peers)),
        Case::Router(peers) => kit.run(dealers(kit, job, peers)),
        Case::Subscriptions(count) => kit.run(subscriptions(kit, job, count)),
        Case::Poll(sockets) => kit.run(poll(kit, job, sockets)),
        Case::Paced(rate) => kit.run(send_when_due(kit, job, rate)),
        Case::Flooded => std::thread::scope(|scope| {
            scope.spawn(|| report(kit.run(push(kit, second, job))));
            finish(kit.run(ask(kit, first, job)))
        }),
        Case::Proxy => std::thread::scope(|scope| {
            scope.spawn(|| {
                report(kit.run(async {
                    let mut socket = kit.open(Kind::Rep, 1)?;
                    socket.connect_to(second).await?;
                    loop {
                        socket.echo().await?;
                    }
                }))
            });
            finish(kit.run(ask(kit, first, job)))
        }),
    }
}

/// A side thread that ends has failed; the driver's patience ends the rest.
fn report(result: Result<Sample>) {
    if let Err(error) = result {
        eprintln!("{error:#}");
    }
}

/// Leaves a scope whose other thread never ends.
fn finish(result: Result<Sample>) -> Result<Sample> {
    use std::io::Read;
    let sample = result?;
    crate::print(&crate::Output::Sample(sample))?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    std::process::exit(0)
}

fn payload(size: usize) -> Bytes {
    Bytes::from(vec![b'x'; size])
}

async fn push<K: Kit>(kit: &K, endpoint: &str, job: &Job) -> Result<Sample> {
    let mut socket = kit.open(Kind::Push, 1)?;
    socket.connect_to(endpoint).await?;
    // The other side of a flood that is only the background is as large as a flood can be in messages.
    flood(kit, &mut socket, &[payload(job.size)]).await
}

/// PUSH, PUB: send one after another, forever.
async fn flood<K: Kit>(kit: &K, socket: &mut K::Socket, payloads: &[Bytes]) -> Result<Sample> {
    let mut next = payloads.iter().cycle();
    loop {
        for payload in next.by_ref().take(stride(payloads[0].len())) {
            socket.send(payload).await?;
        }
        kit.breathe().await;
    }
}

/// PULL: the rate at which messages arrive, once things run.
async fn count(socket: &mut impl Socket, job: &Job) -> Result<Sample> {
    let mut wrong = 0;
    let size = job.size;
    let mut look = |body: &[u8]| wrong += usize::from(body.len() != size);
    let (before, _) = receive_for(socket, size, job.warm_up(), &mut look).await?;
    let (count, elapsed) = receive_for(socket, size, job.measure(), &mut look).await?;
    ensure!(wrong == 0, "{wrong} messages had another size than was sent");
    Ok(Sample::rate(count, elapsed.as_secs_f64(), before + count))
}

async fn receive_for(
    socket: &mut impl Socket,
    size: usize,
    time: Duration,
    look: &mut impl FnMut(&[u8]),
) -> Result<(u64, Duration)> {
    // The first message may be long in coming.
    let mut total = socket.recv_some(look).await? as u64;
    let begin = Instant::now();
    let first = total;
    loop {
        let until = total + stride(size) as u64;
        while total < until {
            total += socket.recv_some(look).await? as u64;
        }
        let elapsed = begin.elapsed();
        if elapsed >= time {
            return Ok((total - first, elapsed));
        }
    }
}

/// REQ: the time from sending a request to holding its reply, many times over.
async fn ask<K: Kit>(kit: &K, endpoint: &str, job: &Job) -> Result<Sample> {
    let mut socket = kit.open(Kind::Req, 1)?;
    socket.connect_to(endpoint).await?;
    let before = ask_for(&mut socket, job.size, job.warm_up()).await?.len();
    let times = ask_for(&mut socket, job.size, job.measure()).await?;
    let total = (before + times.len()) as u64;
    Ok(Sample::times(times, total))
}

/// At least one round trip, whatever the time. In nanoseconds.
async fn ask_for(socket: &mut impl Socket, size: usize, time: Duration) -> Result<Vec<u64>> {
    let payload = payload(size);
    let begin = Instant::now();
    let mut sent = begin;
    let mut times = Vec::with_capacity(1 << 18);
    while times.is_empty() || sent - begin < time {
        socket.send(&payload).await?;
        let received = socket.recv_with(<[u8]>::len).await?;
        let now = Instant::now();
        ensure!(received == size, "received {received} bytes where {size} were sent");
        times.push((now - sent).as_nanos() as u64);
        sent = now;
    }
    Ok(times)
}

async fn handshakes<K: Kit>(kit: &K, job: &Job) -> Result<Sample> {
    let payload = payload(job.size);
    let begin = Instant::now();
    let mut count = 0;
    while count == 0 || begin.elapsed() < job.measure() {
        let mut socket = kit.open(Kind::Req, 1)?;
        socket.connect_to(&job.endpoint).await?;
        socket.send(&payload).await?;
        socket.recv_with(|_| ()).await?;
        count += 1;
    }
    Ok(Sample::rate(count, begin.elapsed().as_secs_f64(), count))
}

/// SUBs in one thread that takes some from each in turn.
async fn subscribers<K: Kit>(kit: &K, job: &Job, peers: usize) -> Result<Sample> {
    let mut sockets = Vec::with_capacity(peers);
    for _ in 0..peers {
        let mut socket = kit.open(Kind::Sub, 1)?;
        socket.subscribe(b"").await?;
        socket.connect_to(&job.endpoint).await?;
        sockets.push(socket);
    }
    let (before, _) = take_in_turn(&mut sockets, job.warm_up()).await?;
    let (count, elapsed) = take_in_turn(&mut sockets, job.measure()).await?;
    Ok(Sample::rate(count, elapsed.as_secs_f64(), before + count))
}

async fn take_in_turn(sockets: &mut [impl Socket], time: Duration) -> Result<(u64, Duration)> {
    /// Fewer than a queue holds by default, so that no SUB falls behind while others are served.
    const TURN: u64 = 64;
    let mut total = 0;
    let mut begin = None;
    loop {
        for socket in sockets.iter_mut() {
            let until = total + TURN;
            while total < until {
                total += socket.recv_some(&mut |_| ()).await? as u64;
            }
        }
        // The first turn is over when every SUB is connected.
        let Some((since, first)) = begin else {
            begin = Some((Instant::now(), total));
            continue;
        };
        let elapsed: Duration = Instant::elapsed(&since);
        if elapsed >= time {
            return Ok((total - first, elapsed));
        }
    }
}

/// Each DEALER has one request under way: all send, then all receive, and again.
async fn dealers<K: Kit>(kit: &K, job: &Job, peers: usize) -> Result<Sample> {
    let payload = payload(job.size);
    let mut sockets = Vec::with_capacity(peers);
    for _ in 0..peers {
        let mut socket = kit.open(Kind::Dealer, 1)?;
        socket.connect_to(&job.endpoint).await?;
        sockets.push(socket);
    }
    let mut total = 0;
    let mut measured = None;
    loop {
        for socket in &mut sockets {
            socket.send(&payload).await?;
        }
        for socket in &mut sockets {
            socket.recv_with(|_| ()).await?;
        }
        total += peers as u64;
        // The first round is over when all are connected.
        let (begin, first) = *measured.get_or_insert_with(|| (Instant::now() + job.warm_up(), None));
        let now = Instant::now();
        match first {
            None if now >= begin => measured = Some((now, Some(total))),
            Some(first) if now - begin >= job.measure() => {
                return Ok(Sample::rate(total - first, (now - begin).as_secs_f64(), total));
            }
            _ => {}
        }
    }
}

/// All in one process: the calls are measured, not the way of a message.
async fn poll<K: Kit>(kit: &K, job: &Job, sockets: usize) -> Result<Sample> {
    let mut pulls = Vec::with_capacity(sockets);
    let mut last = String::new();
    for number in 0..sockets {
        let mut pull = kit.open(Kind::Pull, 1)?;
        last = pull.bind_at(&job.endpoint_of_another(number)).await?;
        pulls.push(pull);
    }
    let mut push = kit.open(Kind::Push, 1)?;
    push.connect_to(&last).await?;
    push.send(&payload(job.size)).await?;
    push.flush().await?;
    let begin = Instant::now();
    let mut times = Vec::with_capacity(1 << 18);
    let mut before = begin;
    kit.poll(&pulls, || {
        let now = Instant::now();
        if now - begin > job.warm_up() {
            times.push((now - before).as_nanos() as u64);
        }
        before = now;
        !times.is_empty() && now - begin > job.warm_up() + job.measure()
    })?;
    let total = times.len() as u64;
    Ok(Sample::times(times, total))
}

/// As many topics as there are subscriptions, none a prefix of another, in an order that no cache can guess.
fn topics(count: usize) -> Vec<Bytes> {
    // Any odd step that is no divisor's multiple visits all; a prime larger than every count here does.
    const STEP: usize = 15_485_863;
    (0..count).map(|i| Bytes::from(format!("topic.{:010}", i * STEP % count))).collect()
}

async fn subscriptions<K: Kit>(kit: &K, job: &Job, count: usize) -> Result<Sample> {
    let mut socket = kit.open(Kind::Sub, 1)?;
    for topic in topics(count) {
        socket.subscribe(&topic).await?;
    }
    socket.connect_to(&job.endpoint).await?;
    let (before, _) = receive_for(&mut socket, job.size, job.warm_up(), &mut |_| ()).await?;
    let (count, elapsed) = receive_for(&mut socket, job.size, job.measure(), &mut |_| ()).await?;
    Ok(Sample::rate(count, elapsed.as_secs_f64(), before + count))
}

fn flooded_server<K: Kit>(kit: &K, job: &Job, bound: impl FnOnce(String) -> Result<()>) -> Result<Sample> {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            report(kit.run(async {
                let mut socket = kit.open(Kind::Pull, 1)?;
                tell.send(socket.bind_at(&job.second_endpoint()).await?)?;
                loop {
                    socket.recv_some(&mut |_| ()).await?;
                }
            }))
        });
        let second = told.recv()?;
        kit.run(async {
            let mut socket = kit.open(Kind::Rep, 1)?;
            let first = socket.bind_at(&job.endpoint).await?;
            bound(format!("{first},{second}"))?;
            loop {
                socket.echo().await?;
            }
        })
    })
}

async fn proxy<K: Kit>(kit: &K, job: &Job, bound: impl FnOnce(String) -> Result<()>) -> Result<Sample> {
    ensure!(K::PROXY, "{} a proxy", crate::UNSUPPORTED);
    let mut router = kit.open(Kind::Router, 1)?;
    let mut dealer = kit.open(Kind::Dealer, 1)?;
    let first = router.bind_at(&job.endpoint).await?;
    let second = dealer.bind_at(&job.second_endpoint()).await?;
    bound(format!("{first},{second}"))?;
    kit.proxy(router, dealer).await?;
    bail!("the proxy ended")
}

/// The machine's monotonic clock, the same for every process, in nanoseconds.
fn clock() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// PUSH: send each message when it is due, late ones at once. It carries the time at which it was due, so a
/// sender or a link that falls behind shows in the figures.
async fn send_when_due<K: Kit>(kit: &K, job: &Job, rate: u64) -> Result<Sample> {
    let mut socket = kit.open(Kind::Push, 1)?;
    socket.connect_to(&job.endpoint).await?;
    let begin = clock();
    let mut message = vec![b'x'; job.size.max(8)];
    for number in 0.. {
        let due = begin + number * 1_000_000_000 / rate;
        // Sleeping is too coarse for 20 us.
        while clock() < due {
            kit.breathe().await;
        }
        message[..8].copy_from_slice(&due.to_ne_bytes());
        socket.send(&Bytes::copy_from_slice(&message)).await?;
        socket.flush().await?;
    }
    bail!("time has ended")
}

async fn receive_due(socket: &mut impl Socket, job: &Job) -> Result<Sample> {
    let mut times = Vec::with_capacity(1 << 20);
    let mut total = 0;
    let mut look = |body: &[u8]| {
        total += 1;
        let due = body.first_chunk().map(|due| u64::from_ne_bytes(*due));
        times.push(clock().saturating_sub(due.unwrap_or_default()));
    };
    let (before, _) = receive_for(socket, job.size, job.warm_up(), &mut look).await?;
    receive_for(socket, job.size, job.measure(), &mut look).await?;
    times.drain(..before as usize);
    Ok(Sample::times(times, total))
}
