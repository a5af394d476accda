//! How the service stops.

use std::time::Duration;

use super::kit::{Reply, Service};

#[test]
fn a_stop_finishes_what_was_begun_and_loses_nothing() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", &vec![7; 16 << 20]);
    let path = format!("/v1/records/{id}");
    let stream = service.admin("GET", &path).stream();
    std::thread::sleep(Duration::from_millis(100));
    service.signal("-TERM");
    std::thread::sleep(Duration::from_millis(300));
    let refused = std::net::TcpStream::connect(&service.address);
    assert!(refused.is_err(), "nothing more is accepted");
    let reply = Reply::read(stream, false);
    assert!(reply.whole && reply.body.len() == 16 << 20, "what was begun is finished");
    let began = std::time::Instant::now();
    let status = service.child.wait().unwrap();
    assert!(status.success(), "{status}\n{}", service.log());
    assert!(began.elapsed() < Duration::from_secs(30));
    drop(service);

    let service = Service::over(dir.path(), &[]);
    assert_eq!(service.admin("GET", &path).send().body.len(), 16 << 20);
    service.signal("-INT");
}

#[test]
fn health_and_readiness_need_no_credential() {
    let service = Service::start();
    assert_eq!(service.ask("GET", "/healthz").send().status, 200);
    assert_eq!(service.ask("GET", "/readyz").send().status, 200);
}
