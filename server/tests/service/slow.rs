//! Clients that send or take nothing: they keep nobody else waiting, and are let go of.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use keyfall::env::System;
use keyfall::sealed::{Identity, Ticket};
use socket2::{Domain, Socket, Type};

use super::certificates::wait_for;
use super::kit::{Reply, Request, Service};

/// So long may take what must not hang.
const AT_MOST: Duration = Duration::from_secs(60);

/// An answer, or a failure where none comes.
fn soon(request: Request<'_>) -> Reply {
    let stream = request.stream();
    stream.set_read_timeout(Some(AT_MOST)).unwrap();
    Reply::try_read(stream, false).unwrap()
}

/// Connects as a client that takes little, and sends this.
fn dial(service: &Service, head: &str, token: &str, more: &[u8]) -> TcpStream {
    dial_as(service, &format!("{head}\r\nAuthorization: Bearer {token}"), more)
}

/// The same, as nobody but whom this says.
fn dial_as(service: &Service, head: &str, more: &[u8]) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address: SocketAddr = service.address.parse().unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    let head = format!("{head}\r\nHost: x\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    // It may be let go of before it has sent all.
    let _ = stream.write_all(more);
    stream.set_read_timeout(Some(AT_MOST)).unwrap();
    stream
}

/// What comes until the end, of a connection that must end.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    match stream.read_to_end(&mut got) {
        Err(e) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&e.kind()) => {
            panic!("it was not let go of; it got {} bytes", got.len())
        }
        _ => got,
    }
}

/// A user with records, and a credential for that user alone.
fn limited(service: &Service, records: usize) -> (String, String) {
    let eve = service.user("eve");
    for _ in 0..records {
        service.put(&eve, "audio", &content(3 << 20));
    }
    let token = service.credential(&format!(
        "{{\"principal\":\"p\",\"scopes\":[\"put\",\"inbox\",\"report\",\"read\"],\
         \"users\":[\"{eve}\"]}}"
    ));
    (eve, token)
}

fn content(length: usize) -> Vec<u8> {
    (0..length as u32 / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect()
}

/// That others put, read and erase.
fn serves_others(service: &Service) {
    let ada = service.user("ada");
    let path = format!("/v1/users/{ada}/records");
    let put = service.admin("POST", &path).header("Keyfall-Class", "audio");
    let put = soon(put.with(&content(200_000)));
    assert_eq!(put.status, 201, "{}", put.text());
    let id = put.json()["id"].as_str().unwrap().to_owned();
    let read = soon(service.admin("GET", &format!("/v1/records/{id}")));
    assert_eq!((read.status, read.body.len()), (200, 200_000));
    let export = soon(service.admin("GET", &format!("/v1/users/{ada}/export.zip")));
    assert!(export.status == 200 && export.whole);
    let json = format!("{{\"scope\":{{\"user\":\"{ada}\"}}}}");
    let erase = service.admin("POST", "/v1/erasures").header("Content-Type", "application/json");
    assert_eq!(soon(erase.with(json.as_bytes())).status, 200);
    assert_eq!(soon(service.ask("GET", "/readyz")).status, 200);
}

#[test]
fn bodies_that_do_not_come_keep_nobody_waiting() {
    let service = Service::start();
    let (eve, token) = limited(&service, 0);
    let put = format!(
        "POST /v1/users/{eve}/records HTTP/1.1\r\nKeyfall-Class: audio\r\nContent-Length: 10000000"
    );
    let mut slow = Vec::new();
    for _ in 0..80 {
        slow.push(dial(&service, "POST /v1/inbox HTTP/1.1\r\nContent-Length: 1000", &token, b""));
        let long = "POST /v1/inbox HTTP/1.1\r\nContent-Length: 100000";
        slow.push(dial(&service, long, &token, &[7; 20_000]));
        slow.push(dial(&service, &put, &token, &[7; 20_000]));
    }
    serves_others(&service);
    drop(slow);
}

/// A credential of each of so many principals, for a user with one record.
fn crowd(service: &Service, many: usize) -> (String, Vec<String>) {
    let eve = service.user("eve");
    service.put(&eve, "audio", &content(3 << 20));
    let credential = |n| {
        service.credential(&format!(
            "{{\"principal\":\"p{n}\",\"scopes\":[\"put\",\"report\",\"read\"],\
             \"users\":[\"{eve}\"]}}"
        ))
    };
    let tokens = (0..many).map(credential).collect();
    (eve, tokens)
}

fn long_put(user: &str) -> String {
    format!(
        "POST /v1/users/{user}/records HTTP/1.1\r\nKeyfall-Class: audio\r\n\
         Content-Length: 10000000"
    )
}

/// Eight principals had all places between them.
#[test]
fn bodies_of_many_principals_that_do_not_come_keep_no_other_waiting() {
    let service = Service::start();
    let (eve, tokens) = crowd(&service, 10);
    let put = long_put(&eve);
    let many = tokens.iter().flat_map(|token| std::iter::repeat_n(token, 34));
    let slow: Vec<_> = many.map(|token| dial(&service, &put, token, &[7; 20_000])).collect();
    serves_others(&service);
    drop(slow);
}

/// Sixteen principals had all places between them.
#[test]
fn exports_of_many_principals_that_nobody_takes_keep_no_other_waiting() {
    let service = Service::start();
    let (eve, tokens) = crowd(&service, 20);
    let export = format!("GET /v1/users/{eve}/export.zip HTTP/1.1");
    let many = tokens.iter().flat_map(|token| std::iter::repeat_n(token, 5));
    let slow: Vec<_> = many.map(|token| dial(&service, &export, token, b"")).collect();
    serves_others(&service);
    drop(slow);
}

/// However many they are: what does not move loses its place to one who waits, and to nobody else.
#[test]
fn a_body_that_does_not_move_loses_its_place_to_one_who_waits() {
    let service = Service::start();
    let (eve, tokens) = crowd(&service, 260);
    let put = long_put(&eve);
    let slow: Vec<_> =
        tokens.iter().map(|token| dial(&service, &put, token, &[7; 20_000])).collect();
    serves_others(&service);
    // Those that came last may be taken later than what was served.
    let mut cut = vec![false; slow.len()];
    wait_for("one is cut", || {
        for (stream, cut) in slow.iter().zip(&mut cut) {
            stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
            let mut some = [0; 12];
            let read = (&*stream).read(&mut some);
            *cut |= read.is_ok_and(|read| some[..read] == *b"HTTP/1.1 400");
        }
        cut.contains(&true)
    });
    let cut = cut.iter().filter(|cut| **cut).count();
    assert!((1..20).contains(&cut), "{cut} of them");
}

#[test]
fn exports_that_nobody_takes_keep_nobody_waiting() {
    let service = Service::start();
    let (eve, token) = limited(&service, 1);
    let export = format!("GET /v1/users/{eve}/export.zip HTTP/1.1");
    let slow: Vec<_> = (0..80).map(|_| dial(&service, &export, &token, b"")).collect();
    serves_others(&service);
    drop(slow);
}

#[test]
fn what_stands_still_is_let_go_of_and_what_moves_slowly_is_not() {
    let dir = tempfile::TempDir::new().unwrap();
    let service = Service::over(dir.path(), &["--idle-seconds", "2"]);
    let (eve, token) = limited(&service, 1);
    let put = format!("POST /v1/users/{eve}/records HTTP/1.1\r\nKeyfall-Class: audio");
    let stands: Vec<TcpStream> = [
        format!("{put}\r\nContent-Length: 1000"),
        format!("{put}\r\nContent-Length: 100000"),
        "POST /v1/inbox HTTP/1.1\r\nContent-Length: 1000".to_owned(),
        "POST /v1/users HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9".to_owned(),
    ]
    .iter()
    .map(|head| dial(&service, head, &token, b"{"))
    .collect();
    // Neither are so many that wait for one another.
    let export = format!("GET /v1/users/{eve}/export.zip HTTP/1.1");
    let exports: Vec<_> = (0..6).map(|_| dial(&service, &export, &token, b"")).collect();

    // The whole takes longer than the connection may stand still.
    let mut moves = dial(&service, &format!("{put}\r\nContent-Length: 8"), &token, b"");
    for byte in b"a letter" {
        sleep(Duration::from_millis(400));
        moves.write_all(&[*byte]).unwrap();
    }
    assert!(rest(moves).starts_with(b"HTTP/1.1 201"));
    for stream in stands {
        let answer = String::from_utf8(rest(stream)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("cut short"), "{answer}");
    }
    sleep(Duration::from_secs(3));
    for stream in exports {
        let got = rest(stream);
        assert!(got.len() < 3 << 20, "it was cut: {}", got.len());
    }
    let whole = service.ask("GET", &format!("/v1/users/{eve}/export.zip"));
    let whole = soon(whole.header("Authorization", &format!("Bearer {token}")));
    assert!(whole.status == 200 && whole.whole, "their places are free again");
}

#[test]
fn connections_without_a_request_are_closed() {
    let dir = tempfile::TempDir::new().unwrap();
    let service = Service::over(dir.path(), &["--idle-seconds", "1"]);
    let begun = [
        "",
        "GET /healthz HTTP/1.1\r\nHo",
        "PRI * HTTP/2.0\r\n\r\nSM",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0",
        "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    let streams = begun.map(|text| {
        let mut stream = TcpStream::connect(&service.address).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream.set_read_timeout(Some(AT_MOST)).unwrap();
        stream
    });
    // And what goes on with its head for ever.
    let mut drips = TcpStream::connect(&service.address).unwrap();
    drips.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
    wait_for("it is closed", || {
        sleep(Duration::from_millis(200));
        drips.write_all(b"A: b\r\n").is_err()
    });
    for stream in streams {
        rest(stream);
    }
}

#[test]
fn connections_leave_the_engine_its_files() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut program = Command::new("prlimit");
    program.arg("--nofile=200").arg(env!("CARGO_BIN_EXE_keyfalld"));
    let service = Service::run(program, dir.path(), &[]);
    let ada = service.user("ada");
    service.put(&ada, "audio", b"RIFF....");
    let mut kept = TcpStream::connect(&service.address).unwrap();
    kept.set_read_timeout(Some(AT_MOST)).unwrap();
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut some = [0; 12];
    kept.read_exact(&mut some).unwrap();
    assert_eq!(&some, b"HTTP/1.1 200");
    let address = service.address.clone();
    let idle: Vec<_> = (0..250).filter_map(|_| TcpStream::connect(&address).ok()).collect();
    sleep(Duration::from_millis(500));
    let json = format!("{{\"scope\":{{\"user\":\"{ada}\"}}}}");
    let erase = format!(
        "POST /v1/erasures HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
        service.token,
        json.len()
    );
    kept.write_all(erase.as_bytes()).unwrap();
    let answer = String::from_utf8(rest(kept)).unwrap();
    assert!(answer.contains("HTTP/1.1 200 OK\r\n") && answer.contains("complete"), "{answer}");
    drop(idle);
    wait_for("there is room again", || {
        let Ok(mut stream) = TcpStream::connect(&service.address) else { return false };
        let asked =
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        asked.is_ok() && Reply::try_read(stream, false).is_ok_and(|reply| reply.status == 200)
    });
}

/// Most bytes that go out after an erase returned, of what a client left unread: those that the
/// service and its system hold, and those that the client's system took.
const AFTER: usize = 96 << 10;

#[test]
fn little_goes_out_after_an_erase_returned() {
    let service = Service::start();
    for kind in ["record", "export", "list", "report"] {
        let (user, content) = (service.user("vic"), content(6 << 20));
        let id = service.put(&user, "audio", &content);
        if ["list", "report"].contains(&kind) {
            for n in 0..1_000 {
                let put = service.admin("POST", &format!("/v1/users/{user}/records"));
                let name = format!("{n:04}-{}", "n".repeat(990));
                let put = put.header("Keyfall-Class", "note").header("Keyfall-Name", &name);
                assert_eq!(put.body(b"x").status, 201);
            }
        }
        let head = match kind {
            "record" => format!("GET /v1/records/{id} HTTP/1.1"),
            "list" => format!("GET /v1/users/{user}/records?limit=1000 HTTP/1.1"),
            "report" => format!("GET /v1/users/{user}/report HTTP/1.1"),
            _ => format!("GET /v1/users/{user}/export.zip HTTP/1.1"),
        };
        let mut stream = dial(&service, &head, &service.token, b"");
        let mut some = [0; 2000];
        stream.read_exact(&mut some).unwrap();
        // All buffers fill up.
        sleep(Duration::from_secs(1));
        let json = format!("{{\"scope\":{{\"user\":\"{user}\"}}}}");
        assert_eq!(service.admin("POST", "/v1/erasures").json(&json).status, 200);
        let after = rest(stream);
        println!("{kind}: {} bytes", after.len());
        assert!(!after.is_empty() && after.len() <= AFTER, "{kind}: {} bytes", after.len());
    }
}

/// All who asked with a grant shared four places.
#[test]
fn a_grantee_who_takes_nothing_keeps_no_other_waiting() {
    let service = Service::start();
    let asker = |name: &str, records: usize| {
        let identity = Identity::new(&System).unwrap();
        let user = service.user(name);
        for _ in 0..records {
            service.put(&user, "audio", &content(3 << 20));
        }
        service.put(&user, "audio", b"RIFF....");
        let to = identity.public().unwrap();
        let grant = format!("{{\"to\":\"{to}\",\"name\":\"the lab\",\"purpose\":\"research\"}}");
        let given = service.admin("POST", &format!("/v1/users/{user}/grants")).json(&grant).json();
        (identity, given["ticket"].as_str().unwrap().parse::<Ticket>().unwrap())
    };
    let (slow, ticket) = asker("eve", 3);
    let dialled: Vec<TcpStream> = (0..4)
        .map(|_| {
            let (request, _) = slow.ask(&ticket, &System).unwrap();
            let head = format!("POST /v1/requests HTTP/1.1\r\nContent-Length: {}", request.len());
            let mut stream = dial_as(&service, &head, &request);
            // It is under way.
            stream.read_exact(&mut [0; 12]).unwrap();
            stream
        })
        .collect();
    let (other, ticket) = asker("ada", 0);
    let (request, _) = other.ask(&ticket, &System).unwrap();
    let began = std::time::Instant::now();
    let parcel = soon(service.ask("POST", "/v1/requests").with(&request));
    assert!(parcel.status == 200 && parcel.whole, "{}", parcel.text());
    // One who takes nothing is let go of after the idle time, of 30 seconds here.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    drop(dialled);
}

/// Two hundred answers of which nothing was taken stood in memory for one connection.
#[test]
fn a_connection_has_few_requests_at_one_time() {
    let service = Service::start();
    let mut stream = TcpStream::connect(&service.address).unwrap();
    stream.set_read_timeout(Some(AT_MOST)).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    // RFC 9113, 4.1 and 6.5: the settings of the server come first.
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[3], 4, "the frame of settings");
    let mut settings = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    stream.read_exact(&mut settings).unwrap();
    let streams = settings.chunks(6).find(|one| one[..2] == [0, 3]).unwrap();
    let streams = u32::from_be_bytes(streams[2..].try_into().unwrap());
    assert!((8..=32).contains(&streams), "{streams}");
}
