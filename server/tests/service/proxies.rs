//! Callers without a credential, by their addresses: as the connection has it, or as a proxy says
//! that is trusted.

use super::kit::Service;

fn started(dir: &std::path::Path, more: &str) -> Service {
    let config = dir.join("keyfall.toml");
    std::fs::write(&config, format!("requests_per_second = 1\nburst = 2\n{more}")).unwrap();
    Service::over(dir, &["--config", config.to_str().unwrap()])
}

/// How many of four requests with these headers are taken.
fn taken(service: &Service, headers: impl Fn(usize) -> Vec<(&'static str, String)>) -> usize {
    let asked = (0..4).map(|n| {
        let key = service.ask("GET", "/log/key");
        headers(n).iter().fold(key, |key, (name, value)| key.header(name, value)).send().status
    });
    let asked: Vec<u16> = asked.collect();
    assert!(asked.iter().all(|status| [200, 429].contains(status)), "{asked:?}");
    asked.iter().filter(|status| **status == 200).count()
}

/// They shared one pace: whoever asked much kept all others out.
#[test]
fn each_address_that_a_trusted_proxy_names_has_a_pace_of_its_own() {
    let dir = tempfile::TempDir::new().unwrap();
    let service = started(dir.path(), "trusted_proxies = \"10.0.0.0/8, 127.0.0.1\"\n");
    let forwarded = |text: &str| vec![("X-Forwarded-For", text.to_owned())];
    let few = 2..4;
    assert!(few.contains(&taken(&service, |_| forwarded("203.0.113.1"))));
    assert!(taken(&service, |n| forwarded(&format!("203.0.113.{}", 10 + n))) == 4);
    // What a client wrote itself stands to the left of what the proxies add.
    let spoofed = |n| forwarded(&format!("198.51.100.{n}, 203.0.113.2, 10.1.1.1"));
    assert!(few.contains(&taken(&service, spoofed)));
    let lines = |n| {
        let spoofed = ("X-Forwarded-For", format!("198.51.100.{n}"));
        vec![spoofed, ("X-Forwarded-For", "203.0.113.3".to_owned())]
    };
    assert!(few.contains(&taken(&service, lines)));
    // One host has many addresses of IPv6.
    assert!(few.contains(&taken(&service, |n| forwarded(&format!("2001:db8::{n}")))));
    // The other header is a client's own here, and what is no address is the proxy.
    let other = |n| vec![("Forwarded", format!("for=198.51.100.{n}"))];
    assert!(few.contains(&taken(&service, other)));
    assert!(taken(&service, |n| forwarded(&format!("198.51.100.{n}, unknown"))) < 3);
}

#[test]
fn the_header_forwarded_is_taken_where_the_proxy_writes_it() {
    let dir = tempfile::TempDir::new().unwrap();
    let more = "trusted_proxies = \"127.0.0.0/8\"\nproxy_header = \"forwarded\"\n";
    let service = started(dir.path(), more);
    let said = |text: String| vec![("Forwarded", text)];
    let few = 2..4;
    let spoofed = |n| said(format!("for=198.51.100.{n}, proto=https;For=\"[2001:db8::7]:4711\""));
    assert!(few.contains(&taken(&service, spoofed)));
    let each =
        |n| said(format!("for=198.51.100.{n}, for=\"203.0.113.{n}:99\";by=_x, for=127.0.0.9"));
    assert_eq!(taken(&service, each), 4);
    let other = |n| vec![("X-Forwarded-For", format!("198.51.100.{n}"))];
    assert!(few.contains(&taken(&service, other)));
}

#[test]
fn what_an_untrusted_peer_says_of_its_address_is_not_looked_at() {
    for more in ["", "trusted_proxies = \"10.0.0.0/8\"\n"] {
        let dir = tempfile::TempDir::new().unwrap();
        let service = started(dir.path(), more);
        let spoofed = |n| {
            let for_ = ("Forwarded", format!("for=198.51.100.{n}"));
            vec![("X-Forwarded-For", format!("203.0.113.{n}")), for_]
        };
        assert!((2..4).contains(&taken(&service, spoofed)), "{more}");
    }
}
