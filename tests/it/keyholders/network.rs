//! The channel: what it carries, and clients that do not belong on it. SPEC §15.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keyfall::cell::RootCell;
use keyfall::env::{SharedEnv, System};
use keyfall::quorum::net::{EngineKey, open_cell};
use keyfall::{ErrorKind, Scope};

use super::{Place, put, shares_in};
use crate::support::{copy, error_kind, ok, read_record, user};

/// Passes on what goes to and fro, and keeps all of it.
fn recorded(to: String, tape: Arc<std::sync::Mutex<Vec<u8>>>) -> String {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let pass = |mut from: TcpStream, mut to: TcpStream, tape: Arc<std::sync::Mutex<Vec<u8>>>| {
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                tape.lock().unwrap().extend_from_slice(&buffer[..n]);
                if to.write_all(&buffer[..n]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(std::net::Shutdown::Both);
        })
    };
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (Ok(near), Ok(far)) = (near, TcpStream::connect(&to)) else { continue };
            pass(near.try_clone().unwrap(), far.try_clone().unwrap(), Arc::clone(&tape));
            pass(far, near, Arc::clone(&tape));
        }
    });
    address
}

/// A client that sends the head of a TLS record, and a byte now and then: none of its reads takes
/// long.
fn dawdle(
    address: &str,
    connections: usize,
    ended: &Arc<AtomicBool>,
) -> std::thread::JoinHandle<usize> {
    use std::io::{Read, Write};
    let connect = || {
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        socket.write_all(&[0x16, 3, 1, 0x10, 0]).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    };
    let mut sockets: Vec<_> = (0..connections).map(|_| connect()).collect();
    let ended = Arc::clone(ended);
    std::thread::spawn(move || {
        while !ended.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_secs(1));
            sockets.retain_mut(|socket| {
                !matches!(socket.read(&mut [0; 64]), Ok(0)) && socket.write_all(&[1]).is_ok()
            });
        }
        sockets.len()
    })
}

#[test]
fn a_recording_of_the_network_holds_no_share_and_no_name() {
    let place = Place::new(3, 2, 0);
    let tape: Arc<std::sync::Mutex<Vec<u8>>> = Arc::default();
    let config = Path::new(&place.at("store.cell")).join("quorum.json");
    let mut text = std::fs::read_to_string(&config).unwrap();
    for keyholder in &place.keyholders {
        text = text
            .replace(&keyholder.address, &recorded(keyholder.address.clone(), Arc::clone(&tape)));
    }
    std::fs::write(&config, text).unwrap();
    let engine = place.open().unwrap();
    put(&engine, "ada");
    let mut shares: Vec<_> = place.keyholders.iter().flat_map(|kh| shares_in(&kh.dir)).collect();
    engine.erase(Scope::user(user("ada"))).unwrap();
    shares.extend(place.keyholders.iter().flat_map(|kh| shares_in(&kh.dir)));
    assert_eq!(shares.len(), 6);
    let tape = tape.lock().unwrap();
    assert!(tape.len() > 10_000, "{} bytes were recorded", tape.len());
    let holds = |needle: &[u8]| tape.windows(needle.len()).any(|window| window == needle);
    for share in &shares {
        assert!(
            !holds(&share.value.bytes()[..8])
                && !holds(&share.commitment[..8])
                && !holds(&share.id.attempt[..8])
        );
        assert_eq!(
            format!("{share:?}"),
            format!("Share({} of {:?})", share.x, share.id),
            "a share does not print"
        );
    }
    // The positive control: what is not secret of a handshake is there. The hybrid exchange,
    // 0x11EC, is the only one offered.
    assert!(holds(&[0x11, 0xEC]));
}

#[test]
fn a_stranger_is_not_heard_and_another_exchange_not_agreed_on() {
    let place = Place::new(3, 2, 0);
    let engine = place.open().unwrap();
    put(&engine, "ada");
    drop(engine);
    // Another engine's key, with the same list of keyholders.
    let stranger = place.at("stranger.cell");
    copy(Path::new(&place.at("store.cell")), Path::new(&stranger));
    std::fs::remove_file(format!("{stranger}/engine.key")).unwrap();
    let id = EngineKey::in_dir(Path::new(&stranger), &System).unwrap().id();
    let env: SharedEnv = Arc::new(System);
    let cell = open_cell(Path::new(&stranger), &env).unwrap().unwrap();
    assert_eq!(error_kind(cell.load()), ErrorKind::Io);
    // Let in, it still has no right to a store that another engine made.
    for keyholder in &place.keyholders {
        ok(&["keyholder", "allow", &keyholder.dir.display().to_string(), &id.to_string()]);
    }
    let e = open_cell(Path::new(&stranger), &env).unwrap().unwrap().load().unwrap_err();
    assert!(e.to_string().contains("another engine"), "{e}");
    let store =
        std::fs::read_dir(place.keyholders[0].dir.join("stores")).unwrap().next().unwrap().unwrap();
    let store = store.file_name().to_string_lossy().into_owned();
    for keyholder in &place.keyholders {
        let dir = keyholder.dir.display().to_string();
        ok(&["keyholder", "allow", &dir, &id.to_string(), "--store", &store]);
    }
    assert_eq!(
        open_cell(Path::new(&stranger), &env).unwrap().unwrap().load().unwrap().keys.len(),
        1
    );
    // A client of TLS 1.3 that offers X25519 alone, as most do, is turned away.
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut client =
        rustls::ClientConnection::new(Arc::new(config), "keyholder.invalid".try_into().unwrap())
            .unwrap();
    let mut socket = std::net::TcpStream::connect(&place.keyholders[0].address).unwrap();
    assert!(client.complete_io(&mut socket).is_err());
    assert!(client.is_handshaking());
}

#[test]
fn strangers_that_take_their_time_keep_no_engine_out() {
    let place = Place::new(3, 2, 0);
    let id = put(&place.open().unwrap(), "ada");
    let ended = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = place.keyholders[..2]
        .iter()
        .map(|keyholder| dawdle(&keyholder.address, 400, &ended))
        .collect();
    let began = Instant::now();
    let engine = place.open().unwrap();
    assert_eq!(read_record(&engine, &id).unwrap(), b"ada");
    engine.erase(Scope::user(user("ada"))).unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // No handshake takes longer than it may, however often a byte comes.
    std::thread::sleep(Duration::from_secs(8));
    ended.store(true, Ordering::SeqCst);
    let left: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(left, 0, "connections are left");
}

#[test]
fn a_keyholder_without_file_descriptors_waits_and_says_so_once() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("kh");
    ok(&["keyholder", "init", &place.display().to_string(), "--accept-remnants"]);
    let script = format!(
        "ulimit -n 24; exec {} keyholder serve {} --listen 127.0.0.1:0",
        env!("CARGO_BIN_EXE_keyfall"),
        place.display()
    );
    let mut process = Command::new("sh")
        .args(["-c", &script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(process.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let address = line.split_once('@').unwrap().1.to_owned();
    let sockets: Vec<_> =
        (0..60).filter_map(|_| std::net::TcpStream::connect(&address).ok()).collect();
    let used = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    std::thread::sleep(Duration::from_millis(300));
    let before = used();
    std::thread::sleep(Duration::from_secs(3));
    // Hundredths of a second, of three hundred.
    let busy = used() - before;
    drop(sockets);
    process.kill().unwrap();
    let mut told = String::new();
    std::io::Read::read_to_string(&mut process.stderr.take().unwrap(), &mut told).unwrap();
    process.wait().unwrap();
    assert!(busy < 100, "{busy} hundredths of a second");
    assert_eq!(told.matches("connections cannot be taken").count(), 1, "{told}");
}
