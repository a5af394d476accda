//! Connections as the service takes them: bounded in number, and closed where nothing moves.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::{Ready, ready};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready as ready_or};
use std::time::Duration;

use axum_server::accept::Accept;
use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tower_http::add_extension::AddExtension;

/// Most bytes of an answer that the system holds and has not sent: what a caller does not read stays
/// in the engine, where an erase reaches it.
const UNSENT_MAX_BYTES: u32 = 16 << 10;

/// Most files that are left to the engine and the service, of those that the process may open.
const RESERVE: u64 = 256;
/// Most connections, however many files the process may open.
const CONNECTIONS_MAX: u64 = 1 << 16;

/// Has a connection send without delay, and hold little.
///
/// # Errors
/// As the system says.
pub(crate) fn prompt(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_MAX_BYTES)
}

/// The connections of the service: how many there may be, and how long one may be quiet.
#[derive(Clone)]
pub(crate) struct Lines {
    idle: Duration,
    places: Arc<Semaphore>,
    /// Of one address, at most: what others need is left to them.
    of_one: usize,
    /// How many each address has.
    peers: Arc<Mutex<HashMap<IpAddr, usize>>>,
    full: Arc<AtomicBool>,
}

/// The place of a connection, until it is dropped.
pub(crate) struct Place {
    _place: OwnedSemaphorePermit,
    peer: IpAddr,
    peers: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut of_peer) = peers.entry(self.peer) {
            *of_peer.get_mut() -= 1;
            if *of_peer.get() == 0 {
                of_peer.remove();
            }
        }
    }
}

impl Lines {
    /// As many as the process may open files, less what the engine needs; each is closed when it
    /// was without a request for `idle`, or takes nothing of an answer for so long.
    pub(crate) fn new(idle: Duration) -> Self {
        let files = files();
        let most = files.saturating_sub(RESERVE.min(files / 2)).clamp(1, CONNECTIONS_MAX);
        let places = usize::try_from(most).unwrap_or(1);
        Lines::of(idle, places)
    }

    fn of(idle: Duration, places: usize) -> Self {
        Lines {
            idle,
            places: Arc::new(Semaphore::new(places)),
            of_one: places - places / 4,
            peers: Arc::default(),
            full: Arc::default(),
        }
    }

    /// A place for a connection from an address.
    ///
    /// # Errors
    /// If there is none: the connection is closed then.
    pub(crate) fn place(&self, peer: IpAddr) -> io::Result<Place> {
        let peer = peer.to_canonical();
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        let Some(place) = place.and_then(|place| self.of_peer(peer, place)) else {
            if !self.full.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "connections are refused: as many are open as there may be, in all or from one address"
                );
            }
            return Err(io::Error::other("as many connections are open as there may be"));
        };
        self.full.store(false, Ordering::Relaxed);
        Ok(place)
    }

    /// The place, if the address has not as many as it may.
    fn of_peer(&self, peer: IpAddr, place: OwnedSemaphorePermit) -> Option<Place> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = peers.entry(peer).or_default();
        if *of_peer == self.of_one {
            return None;
        }
        *of_peer += 1;
        Some(Place { _place: place, peer, peers: Arc::clone(&self.peers) })
    }

    /// A connection in its place.
    pub(crate) fn line<S>(&self, stream: S, place: Place) -> Line<S> {
        Line {
            stream,
            traffic: Traffic::new(),
            idle: self.idle,
            quiet: Box::pin(sleep(self.idle)),
            stalled: None,
            _place: place,
        }
    }
}

/// How many files the process may open: as many as the system lets it.
fn files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

/// The requests of a connection that are under way, or since when there has been none.
#[derive(Clone)]
pub(crate) struct Traffic(Arc<Mutex<(usize, Instant)>>);

/// A request that is under way, until it is dropped: with the last byte of its answer.
pub(crate) struct UnderWay(Traffic);

impl Traffic {
    fn new() -> Self {
        Traffic(Arc::new(Mutex::new((0, Instant::now()))))
    }

    /// A request begins.
    pub(crate) fn begin(&self) -> UnderWay {
        self.change(|requests| requests + 1);
        UnderWay(self.clone())
    }

    /// For how long there has been none.
    fn quiet(&self) -> Duration {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            (0, since) => since.elapsed(),
            _ => Duration::ZERO,
        }
    }

    fn change(&self, change: impl FnOnce(usize) -> usize) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = (change(state.0), Instant::now());
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.change(|requests| requests.saturating_sub(1));
    }
}

/// A connection, closed where nothing moves: without a request for too long, be it that its head
/// does not come to an end, or with an answer of which nothing is taken.
pub(crate) struct Line<S> {
    stream: S,
    traffic: Traffic,
    idle: Duration,
    quiet: Pin<Box<Sleep>>,
    /// Since something could not be sent.
    stalled: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl<S> Line<S> {
    /// What is under way on it.
    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic.clone()
    }

    /// Fails where sending waits for too long.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let idle = self.idle;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(idle)));
        stalled.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }

    /// What became of a write.
    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            return self.wait(cx).map(Err);
        }
        self.stalled = None;
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let line = &mut *self;
        if let Poll::Ready(read) = Pin::new(&mut line.stream).poll_read(cx, buffer) {
            return Poll::Ready(read);
        }
        loop {
            ready_or!(line.quiet.as_mut().poll(cx));
            let left = line.idle.saturating_sub(line.traffic.quiet());
            if left.is_zero() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            line.quiet.as_mut().reset(Instant::now() + left);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Pending => self.wait(cx).map(Err),
            flushed => flushed,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Pending => self.wait(cx).map(Err),
            shut => shut,
        }
    }
}

/// Accepts connections without TLS.
#[derive(Clone)]
pub(crate) struct Plain(pub(crate) Lines);

impl<S> Accept<TcpStream, S> for Plain {
    type Stream = Line<TcpStream>;
    type Service = AddExtension<S, Traffic>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let lined = stream.peer_addr().and_then(|peer| {
            let place = self.0.place(peer.ip())?;
            prompt(&stream)?;
            let line = self.0.line(stream, place);
            let traffic = line.traffic();
            Ok((line, AddExtension::new(service, traffic)))
        });
        ready(lined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_places_to_others() {
        let lines = Lines::of(Duration::from_secs(1), 8);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut held: Vec<Place> = std::iter::from_fn(|| lines.place(one).ok()).collect();
        assert_eq!(held.len(), 6);
        // The same address in the form of a socket of the newer protocol.
        let mapped = std::net::Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped();
        assert!(lines.place(mapped.into()).is_err());
        let others: Vec<Place> = std::iter::from_fn(|| lines.place(other).ok()).collect();
        assert_eq!(others.len(), 2);
        held.pop();
        assert!(lines.place(one).is_ok());
        drop((held, others));
        assert!(lines.peers.lock().unwrap().is_empty());
    }
}
