//! Requests and answers of HTTP/1.1, as clients and servers of S3 send them.

use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpStream;

use super::{Protocol, Request, Stream};

#[derive(Default)]
pub(super) struct Http {
    /// Whether the last answer ended with its connection.
    ended: bool,
}

/// An answer of the proxy itself, after which the connection ends.
pub(super) fn status(line: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// The value of a field, in lower case.
fn field(head: &[u8], name: &str) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    head.lines().skip(1).find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
    })
}

/// Up to the end of the head; empty where nothing comes.
fn head(from: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if from.read_until(b'\n', &mut head)? == 0 {
            return if head.is_empty() { Ok(head) } else { Err(bad("half a head")) };
        }
    }
    Ok(head)
}

fn length(head: &[u8]) -> io::Result<Option<usize>> {
    let value = field(head, "content-length");
    value.map(|value| value.parse().map_err(|_| bad("no length"))).transpose()
}

/// The name of an object within its store, from the path of a request: its folder and last part.
fn name(path: &str) -> String {
    let mut parts = path.split('?').next().unwrap_or_default().rsplitn(3, '/');
    let (last, folder) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{folder}/{last}")
}

impl Protocol for Http {
    fn greeting(&mut self, _from: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn begin(&mut self, from: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
        let head = head(from)?;
        Ok((!head.is_empty()).then_some(head))
    }

    fn rest(&mut self, from: &mut BufReader<TcpStream>, begun: Vec<u8>) -> io::Result<Request> {
        let text = String::from_utf8_lossy(&begun).into_owned();
        let mut words = text.split(' ');
        let (verb, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if field(&begun, "transfer-encoding").is_some() {
            return Err(bad("a request in chunks"));
        }
        let mut body = vec![0; length(&begun)?.unwrap_or(0)];
        from.read_exact(&mut body)?;
        let creates = (verb == "PUT").then(|| (name(path), body.clone()));
        // S3 deletes many objects by one request, and Azure by a batch of several.
        let is_of = |option: &str| verb == "POST" && path.contains(option);
        let deletes = verb == "DELETE" || is_of("?delete") || is_of("comp=batch");
        Ok(Request {
            bytes: [begun, body].concat(),
            creates,
            deletes,
            is_head: verb == "HEAD",
            before: Vec::new(),
        })
    }

    fn is_last(&self, _request: &Request) -> bool {
        false
    }

    fn answer(&mut self, from: &mut Box<dyn Stream>, of_a_head: bool) -> io::Result<Vec<u8>> {
        let mut from = BufReader::new(from);
        let mut all = head(&mut from)?;
        if all.is_empty() {
            return Err(bad("no answer"));
        }
        let code = all.get(9..12).unwrap_or_default().to_vec();
        let is_empty = of_a_head || code == b"204" || code == b"304" || code.starts_with(b"1");
        self.ended = field(&all, "connection").is_some_and(|value| value == "close");
        if is_empty {
            return Ok(all);
        }
        if field(&all, "transfer-encoding").is_some_and(|value| value.contains("chunked")) {
            loop {
                let at = all.len();
                from.read_until(b'\n', &mut all)?;
                let line = String::from_utf8_lossy(&all[at..]).trim().to_owned();
                let digits = line.split(';').next().unwrap_or_default().to_owned();
                let len = usize::from_str_radix(&digits, 16).map_err(|_| bad("no chunk"))?;
                let at = all.len();
                all.resize(at + len + 2, 0);
                from.read_exact(&mut all[at..])?;
                if len == 0 {
                    return Ok(all);
                }
            }
        }
        match length(&all)? {
            Some(len) => {
                let at = all.len();
                all.resize(at + len, 0);
                from.read_exact(&mut all[at..])?;
            }
            None => {
                from.read_to_end(&mut all)?;
                self.ended = true;
            }
        }
        Ok(all)
    }

    fn is_over(&self) -> bool {
        self.ended
    }

    fn took_effect(&self, answer: &[u8]) -> bool {
        answer.get(9..11) == Some(b"20")
    }
}
