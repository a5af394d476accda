//! A proxy between a client and a server of PostgreSQL: it counts round trips, keeps answers back
//! and holds requests.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    None = 0,
    /// The next one that writes takes effect, and its answer is lost with the connection.
    Unanswered = 1,
    /// The next one that writes is held, and its sender's connection cut.
    Held = 2,
}

/// A statement that writes has this in it.
const WRITES: &[u8] = b"insert into keyfall select";

struct Shared {
    socket: PathBuf,
    round_trips: AtomicU64,
    fault: AtomicU8,
    held: Mutex<Vec<(UnixStream, Vec<u8>)>>,
}

/// A proxy; it listens on a port of this machine.
pub(crate) struct Wire {
    shared: Arc<Shared>,
    port: u16,
}

impl Wire {
    /// A proxy to the server at this socket.
    pub(crate) fn to(socket: &Path) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            socket: socket.to_owned(),
            round_trips: AtomicU64::new(0),
            fault: AtomicU8::new(0),
            held: Mutex::new(Vec::new()),
        });
        let there = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&there);
                thread::spawn(move || shared.serve(client));
            }
        });
        Wire { shared, port }
    }

    pub(crate) fn url(&self, options: &str) -> String {
        format!("postgres://ada@127.0.0.1:{}/keyfall?sslmode=disable{options}", self.port)
    }

    /// How many round trips there were since the last call.
    pub(crate) fn take(&self) -> u64 {
        self.shared.round_trips.swap(0, Ordering::SeqCst)
    }

    /// What happens to the next request that writes.
    pub(crate) fn next(&self, fault: Fault) {
        self.shared.fault.store(fault as u8, Ordering::SeqCst);
    }

    /// Delivers what was held, and gives the server time to carry it out.
    pub(crate) fn deliver(&self) -> usize {
        let held = std::mem::take(&mut *self.shared.held.lock().unwrap());
        let n = held.len();
        for (mut server, bytes) in held {
            server.write_all(&bytes).unwrap();
            thread::sleep(Duration::from_millis(500));
        }
        n
    }
}

impl Shared {
    fn serve(&self, client: TcpStream) {
        let Ok(server) = UnixStream::connect(&self.socket) else { return };
        client.set_nodelay(true).unwrap();
        let (mut back, mut from) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut back);
            let _ = back.shutdown(Shutdown::Both);
        });
        let _ = self.forward(&client, &server);
        let _ = client.shutdown(Shutdown::Both);
    }

    /// Passes requests on, each whole.
    fn forward(&self, mut client: &TcpStream, mut server: &UnixStream) -> io::Result<()> {
        let mut length = [0; 4];
        client.read_exact(&mut length)?;
        server.write_all(&length)?;
        let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
        client.read_exact(&mut rest)?;
        server.write_all(&rest)?;
        let mut request = Vec::new();
        loop {
            let mut head = [0; 5];
            client.read_exact(&mut head)?;
            let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
            let at = request.len();
            request.extend_from_slice(&head);
            request.resize(at + 5 + len, 0);
            client.read_exact(&mut request[at + 5..])?;
            // Sync, or a query without values: the client waits now.
            if head[0] != b'S' && head[0] != b'Q' {
                if head[0] == b'X' {
                    server.write_all(&request)?;
                    return Ok(());
                }
                continue;
            }
            self.round_trips.fetch_add(1, Ordering::SeqCst);
            let writes = request.windows(WRITES.len()).any(|part| part == WRITES);
            let fault = if writes { self.fault.swap(0, Ordering::SeqCst) } else { 0 };
            if fault == Fault::Held as u8 {
                self.held.lock().unwrap().push((server.try_clone()?, request));
                return Ok(());
            }
            if fault == Fault::Unanswered as u8 {
                client.shutdown(Shutdown::Both)?;
                server.write_all(&request)?;
                thread::sleep(Duration::from_millis(200));
                return Ok(());
            }
            server.write_all(&request)?;
            request.clear();
        }
    }
}
