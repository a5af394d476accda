//! Connections as the service takes them.

use std::future::{Ready, ready};
use std::io;

use axum_server::accept::Accept;
use socket2::SockRef;
use tokio::net::TcpStream;

/// Most bytes of an answer that the system holds and has not sent: what a caller does not read stays
/// in the engine, where an erase reaches it.
const UNSENT_MAX_BYTES: u32 = 64 << 10;

/// Has a connection send without delay, and hold little.
///
/// # Errors
/// As the system says.
pub(crate) fn prompt(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_MAX_BYTES)
}

/// Accepts connections without TLS.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

impl<S> Accept<TcpStream, S> for Plain {
    type Stream = TcpStream;
    type Service = S;
    type Future = Ready<io::Result<(TcpStream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(prompt(&stream).map(|()| (stream, service)))
    }
}
