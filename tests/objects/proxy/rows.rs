//! Requests and answers of PostgreSQL's protocol: what a client sends up to `Sync`, and what the
//! server answers up to `ReadyForQuery`.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufReader, Read};
use std::net::TcpStream;

use super::{Protocol, Request, Stream};

/// A statement that creates an object has this in it.
const CREATES: &[u8] = b"insert into keyfall select";
/// And one that deletes some.
const DELETES: &[u8] = b"delete from keyfall where";
/// What ends a session.
const TERMINATE: u8 = b'X';

#[derive(Default)]
pub(super) struct Rows {
    /// What the statements of this connection were prepared with, by their names.
    statements: HashMap<Vec<u8>, Vec<u8>>,
}

fn length(bytes: &[u8]) -> usize {
    u32::from_be_bytes(bytes.try_into().unwrap()) as usize
}

/// One message, with its kind and its length.
fn message(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut message = vec![0; 5];
    from.read_exact(&mut message)?;
    rest(from, message)
}

fn rest(from: &mut dyn Read, mut begun: Vec<u8>) -> io::Result<Vec<u8>> {
    let len = length(&begun[1..5]);
    begun.resize(len + 1, 0);
    from.read_exact(&mut begun[5..])?;
    Ok(begun)
}

/// A text that ends with a zero, and what comes after it.
fn text(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = bytes.iter().position(|b| *b == 0).unwrap();
    (&bytes[..at], &bytes[at + 1..])
}

/// The name of a bound statement, and its values.
fn bound(message: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let two = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let (_portal, left) = text(&message[5..]);
    let (name, left) = text(left);
    let formats = two(left);
    let left = &left[2 + 2 * formats..];
    let (count, mut left) = (two(left), &left[2..]);
    let mut values = Vec::new();
    for _ in 0..count {
        let len = i32::from_be_bytes(left[..4].try_into().unwrap());
        let len = usize::try_from(len).unwrap_or(0);
        values.push(left[4..4 + len].to_vec());
        left = &left[4 + len..];
    }
    (name.to_vec(), values)
}

impl Protocol for Rows {
    fn greeting(&mut self, from: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
        let mut greeting = vec![0; 4];
        from.read_exact(&mut greeting)?;
        greeting.resize(length(&greeting), 0);
        from.read_exact(&mut greeting[4..])?;
        Ok(greeting)
    }

    fn begin(&mut self, from: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
        let mut begun = vec![0; 5];
        match from.read_exact(&mut begun) {
            Ok(()) => Ok(Some(begun)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn rest(&mut self, from: &mut BufReader<TcpStream>, begun: Vec<u8>) -> io::Result<Request> {
        let mut next = rest(from, begun)?;
        let mut request = Request {
            bytes: Vec::new(),
            creates: None,
            deletes: false,
            is_head: false,
            before: Vec::new(),
        };
        let mut prepared = HashSet::new();
        loop {
            let kind = next[0];
            match kind {
                b'P' => {
                    let name = text(&next[5..]).0.to_vec();
                    prepared.insert(name.clone());
                    self.statements.insert(name, next.clone());
                }
                b'B' => {
                    let (name, mut values) = bound(&next);
                    let statement = self.statements.get(&name).cloned().unwrap_or_default();
                    let has = |what: &[u8]| statement.windows(what.len()).any(|part| part == what);
                    request.deletes |= has(DELETES);
                    if has(CREATES) {
                        let object = String::from_utf8_lossy(&values[1]).into_owned();
                        request.creates = Some((object, values.swap_remove(2)));
                    }
                    if !prepared.contains(&name) {
                        request.before = statement;
                    }
                }
                _ => {}
            }
            request.bytes.extend_from_slice(&next);
            if [b'S', b'Q', TERMINATE].contains(&kind) {
                return Ok(request);
            }
            next = message(from)?;
        }
    }

    fn is_last(&self, request: &Request) -> bool {
        request.bytes[0] == TERMINATE
    }

    fn answer(&mut self, from: &mut Box<dyn Stream>, _of_a_head: bool) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let message = message(from)?;
            all.extend_from_slice(&message);
            // An error before the session has begun ends the connection.
            if message[0] == b'Z' {
                return Ok(all);
            }
        }
    }

    fn is_over(&self) -> bool {
        false
    }

    /// The row of a create is whether the server is fit, and how many rows were made.
    fn took_effect(&self, answer: &[u8]) -> bool {
        let mut left = answer;
        while left.len() >= 5 {
            let len = length(&left[1..5]) + 1;
            if left[0] == b'D' {
                return left[len - 1] == 1;
            }
            left = &left[len..];
        }
        false
    }
}
