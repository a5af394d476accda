//! A cell of keyholders: what the service says while some are away, and when they are back.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keyfall::engine::CopyMode;
use keyfall::env::{SharedEnv, System};
use keyfall::quorum::Member;
use keyfall::quorum::net::{EngineKey, KeyholderDir, Server};

use super::kit::{Reply, Service};

/// Keyholders in this process, each reached through a gate.
pub(super) struct Keyholders {
    gates: Vec<Arc<Gate>>,
    /// Messages that may still be sent to them, all together.
    budget: Arc<AtomicI64>,
}

struct Gate {
    open: AtomicBool,
    budget: Arc<AtomicI64>,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Keyholders {
    /// A store in a directory, with five of them: two give the root key back, three must hold it,
    /// and four must have signed that it is gone.
    fn new(dir: &Path) -> Keyholders {
        Keyholders::of(5, dir)
    }

    /// The same with another number of them.
    pub(super) fn of(number: usize, dir: &Path) -> Keyholders {
        let engine = EngineKey::in_dir(&dir.join("a.db.cell"), &System).unwrap().id();
        let budget = Arc::new(AtomicI64::new(i64::MAX));
        let (mut gates, mut members) = (Vec::new(), Vec::new());
        for number in 0..number {
            let place = dir.join(format!("keyholder-{number}"));
            let env: SharedEnv = Arc::new(System);
            let holder = KeyholderDir::create(&place, true, &System).unwrap();
            let key = holder.id().to_string();
            KeyholderDir::allow(&place, engine, None).unwrap();
            let server = Server::bind(holder, "127.0.0.1:0", env).unwrap();
            let behind = server.address().unwrap().to_string();
            std::thread::spawn(move || server.run(&|_| {}));
            let (gate, address) = Gate::before(behind, &budget);
            gates.push(gate);
            members.push(Member { key, address });
        }
        let builder = keyfall::Builder::at(dir.join("a.db")).accept_remnants();
        builder.keyholders(members, (2, 0)).open_or_create().unwrap().close().unwrap();
        Keyholders { gates, budget }
    }

    /// Takes the first so many away.
    pub(super) fn away(&self, first: usize) {
        self.gates.iter().take(first).for_each(|gate| gate.close());
    }

    /// Has all of them go away once so many messages were sent.
    fn away_after(&self, messages: i64) {
        self.budget.store(messages, Ordering::SeqCst);
    }

    pub(super) fn back(&self) {
        self.budget.store(i64::MAX, Ordering::SeqCst);
        self.gates.iter().for_each(|gate| gate.open.store(true, Ordering::SeqCst));
    }
}

impl Gate {
    fn before(behind: String, budget: &Arc<AtomicI64>) -> (Arc<Gate>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let gate = Arc::new(Gate {
            open: AtomicBool::new(true),
            budget: Arc::clone(budget),
            sockets: Mutex::default(),
        });
        let own = Arc::clone(&gate);
        std::thread::spawn(move || {
            for engine in listener.incoming().map_while(Result::ok) {
                let Ok(holder) = TcpStream::connect(&behind) else { continue };
                if own.lets_through() {
                    own.join(engine, holder);
                }
            }
        });
        (gate, address)
    }

    fn lets_through(&self) -> bool {
        self.open.load(Ordering::SeqCst) && self.budget.load(Ordering::SeqCst) > 0
    }

    fn join(self: &Arc<Self>, engine: TcpStream, holder: TcpStream) {
        for (from, to, counts) in [(&engine, &holder, true), (&holder, &engine, false)] {
            let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let gate = Arc::clone(self);
            std::thread::spawn(move || {
                let mut bytes = [0; 1 << 16];
                while let Ok(read @ 1..) = from.read(&mut bytes) {
                    if counts {
                        gate.budget.fetch_sub(1, Ordering::SeqCst);
                    }
                    if !gate.lets_through() || to.write_all(&bytes[..read]).is_err() {
                        break;
                    }
                }
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        }
        self.sockets.lock().unwrap().extend([engine, holder]);
    }

    fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
        for socket in self.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Waits until the service says that it is ready, or is not. No client writes meanwhile.
fn wait_for(service: &Service, status: u16) -> Reply {
    wait(service, status, Duration::from_secs(45))
}

fn wait(service: &Service, status: u16, most: Duration) -> Reply {
    let began = Instant::now();
    loop {
        let ready = service.ask("GET", "/readyz").send();
        if ready.status == status {
            return ready;
        }
        assert!(began.elapsed() < most, "{}", ready.text());
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn erase(service: &Service, id: &str, key: &str) -> Reply {
    let json = format!("{{\"scope\":{{\"record\":\"{id}\"}}}}");
    service.admin("POST", "/v1/erasures").header("Idempotency-Key", key).json(&json)
}

fn read(service: &Service, id: &str) -> u16 {
    service.admin("GET", &format!("/v1/records/{id}")).send().status
}

/// It said that it was ready while nothing could be erased.
#[test]
fn readiness_says_whether_enough_keyholders_are_there_although_nobody_writes() {
    let dir = tempfile::TempDir::new().unwrap();
    let keyholders = Keyholders::new(dir.path());
    let service = Service::over(dir.path(), &[]);
    wait_for(&service, 200);
    keyholders.away(3);
    let why = wait_for(&service, 503).json()["checks"]["cell"].as_str().unwrap().to_owned();
    assert!(why.contains("2 of 5 keyholders answer, and an erase needs 3"), "{why}");
    keyholders.back();
    wait_for(&service, 200);
}

/// It was answered by 500, which says neither whether it was done nor what to do.
#[test]
fn an_erase_without_enough_keyholders_says_that_nothing_was_erased_and_is_done_later() {
    let dir = tempfile::TempDir::new().unwrap();
    let keyholders = Keyholders::new(dir.path());
    let service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", b"RIFF....");
    keyholders.away(3);
    let key = "0b5f7a52-9d0c-4b39-9d90-000000000001";
    let refused = erase(&service, &id, key);
    assert_eq!((refused.status, refused.kind()), (503, "keyholders".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert!(refused.json()["detail"].as_str().unwrap().starts_with("nothing was erased: "));
    assert_eq!(read(&service, &id), 200, "and so it is");
    // A put that replaces a record erases it.
    let put = |body: &[u8]| {
        let put = service.admin("POST", &format!("/v1/users/{ada}/records"));
        put.header("Keyfall-Class", "note").header("Keyfall-Name", "n").body(body)
    };
    assert_eq!(put(b"one").status, 201);
    let replaced = put(b"two");
    assert_eq!((replaced.status, replaced.kind()), (503, "keyholders".to_owned()));
    keyholders.back();
    wait_for(&service, 200);
    let done = erase(&service, &id, key);
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(read(&service, &id), 410);
}

/// The metric stood still between one asking and the next.
#[test]
fn a_retirement_that_keyholders_have_not_confirmed_grows_older_and_ends() {
    let dir = tempfile::TempDir::new().unwrap();
    let keyholders = Keyholders::new(dir.path());
    let service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", b"RIFF....");
    keyholders.away(2);
    let pending = erase(&service, &id, "0b5f7a52-9d0c-4b39-9d90-000000000002");
    assert_eq!((pending.status, &pending.json()["state"]), (202, &"pending".into()));
    assert_eq!(read(&service, &id), 410);
    let unconfirmed = || {
        let text = service.admin("GET", "/metrics").send().text();
        let line = text.lines().find(|l| l.starts_with("keyfall_retirement_unconfirmed_seconds "));
        line.unwrap().rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    let first = unconfirmed();
    std::thread::sleep(Duration::from_millis(50));
    let second = unconfirmed();
    assert!(first > 0.0 && second > first, "{first}, {second}");
    keyholders.back();
    let began = Instant::now();
    while unconfirmed() > 0.0 {
        assert!(began.elapsed() < Duration::from_secs(60), "they are back, and nobody asks them");
        std::thread::sleep(Duration::from_millis(100));
    }
    let at = pending.header("location").unwrap();
    assert_eq!(service.admin("GET", at).send().json()["state"], "complete");
}

/// All keyholders go away at some message of an erase, before or after it is durable.
#[test]
fn whenever_keyholders_go_an_answer_says_no_more_than_what_was_done() {
    let dir = tempfile::TempDir::new().unwrap();
    let keyholders = Keyholders::new(dir.path());
    let service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    let (mut undone, mut pending) = (0, 0);
    for messages in (0..36).step_by(3) {
        wait_for(&service, 200);
        let id = service.put(&ada, "audio", b"RIFF....");
        let key = format!("0b5f7a52-9d0c-4b39-9d91-{messages:012}");
        keyholders.away_after(messages);
        let answer = erase(&service, &id, &key);
        let expected = match answer.status {
            200 => 410,
            202 => {
                pending += 1;
                assert_eq!(answer.json()["state"], "pending");
                410
            }
            status => {
                assert_eq!((status, answer.kind()), (503, "keyholders".to_owned()));
                undone += 1;
                assert!(answer.text().contains("nothing was erased"), "{}", answer.text());
                200
            }
        };
        assert_eq!(read(&service, &id), expected, "after {messages}: {}", answer.text());
        keyholders.back();
        wait_for(&service, 200);
        let again = erase(&service, &id, &key);
        assert!([200, 202].contains(&again.status), "after {messages}: {}", again.text());
        assert_eq!(read(&service, &id), 410);
    }
    assert!(undone > 0 && pending > 0, "{undone} were not done, {pending} were pending");
}

/// It was said to be away until somebody wrote.
#[test]
fn a_copy_that_came_back_is_in_step_although_nobody_writes() {
    let dir = tempfile::TempDir::new().unwrap();
    let builder = keyfall::Builder::at(dir.path().join("a.db")).accept_remnants();
    let engine = builder.open_or_create().unwrap();
    let (copy, away) = (dir.path().join("copy"), dir.path().join("away"));
    engine.copies().add(copy.to_str().unwrap(), CopyMode::InStep, &mut |_| {}).unwrap();
    engine.close().unwrap();
    std::fs::rename(&copy, &away).unwrap();
    let service = Service::over(dir.path(), &[]);
    assert!(wait_for(&service, 503).json()["checks"]["copies"].as_str().unwrap().contains("away"));
    std::fs::rename(&away, &copy).unwrap();
    // Sooner than the engine's keeper looks.
    wait(&service, 200, Duration::from_secs(20));
    service.user("ada");
}
