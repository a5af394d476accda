//! The user's page without a browser: what becomes of its erases when the service is killed.

use std::time::Duration;

use keyfall::certificate::{Certificate, Trust};

use super::kit::{Reply, Service};

/// A session on a page: its cookie, and what its forms bear.
struct Session {
    cookie: String,
    csrf: String,
}

impl Session {
    /// Enters by a link, with the cookie that the browser has from before.
    fn enter(service: &Service, handle: &str, before: Option<&str>) -> Session {
        let made = service.admin("POST", &format!("/v1/users/{handle}/page-links")).json("{}");
        let link = made.json()["url"].as_str().unwrap().to_owned();
        let mut request = service.ask("POST", &link);
        if let Some(cookie) = before {
            request = request.header("Cookie", cookie);
        }
        let entered = request.send();
        assert_eq!(entered.status, 303, "{}", entered.text());
        let cookie = entered.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let page = service.ask("GET", "/page").header("Cookie", &cookie).send().text();
        let csrf = between(&page, "name=\"csrf\" value=\"", "\"").unwrap().to_owned();
        Session { cookie, csrf }
    }

    fn get(&self, service: &Service, path: &str) -> Reply {
        service.ask("GET", path).header("Cookie", &self.cookie).send()
    }

    /// A form that erases at once.
    fn erase<'s>(&self, service: &'s Service, what: &str) -> super::kit::Request<'s> {
        let body = format!("csrf={}&{what}", self.csrf);
        let request = service.ask("POST", "/page/erase/now").header("Cookie", &self.cookie);
        request.header("Content-Type", "application/x-www-form-urlencoded").with(body.as_bytes())
    }
}

/// Erases everything of a user on their page.
pub(super) fn erase_everything(service: &Service, handle: &str) {
    let erased = Session::enter(service, handle, None).erase(service, "all=1").send();
    assert_eq!(erased.status, 303, "{}", erased.text());
}

fn between<'t>(text: &'t str, from: &str, to: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(from)?;
    Some(rest.split_once(to)?.0)
}

fn holds(service: &Service, text: &str) -> bool {
    let log = service.ask("GET", "/log/key").send().text().trim().parse().unwrap();
    text.parse::<Certificate>().unwrap().verify(&Trust::in_log(log)).is_ok()
}

/// The proofs that a page links to, each as a text.
fn proofs(service: &Service, session: &Session, page: &str) -> Vec<String> {
    let places = page.split("href=\"/page/proofs/").skip(1);
    let places = places.filter_map(|rest| rest.split_once(".erased\""));
    let get = |(name, _)| session.get(service, &format!("/page/proofs/{name}.erased"));
    places.map(get).map(|file| file.text()).collect()
}

/// A service that was killed between an erase of the page and keeping its proof had none to give:
/// what was erased was gone, and nothing showed it.
#[test]
fn a_proof_of_the_page_is_there_also_after_a_kill() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut service = Service::over(dir.path(), &[]);
    let (mut whole, mut some) = (0, 0);
    for round in 0..24u64 {
        let everything = round % 2 == 0;
        let name = format!("mensch-unikat-{round}");
        let user = service.user(&name);
        service.put(&user, "audio", b"RIFF....");
        service.put(&user, "transcript", b"set a timer");
        let session = Session::enter(&service, &user, None);
        let what = if everything { "all=1" } else { "class=audio" };
        let stream = session.erase(&service, what).stream();
        std::thread::sleep(Duration::from_millis(round / 2));
        service.child.kill().unwrap();
        service.child.wait().unwrap();
        drop(stream);
        for file in std::fs::read_dir(dir.path().join("a.db.service/answers")).unwrap() {
            let kept = std::fs::read_to_string(file.unwrap().path()).unwrap();
            assert!(!kept.contains(&name) && !kept.contains("the person"), "it is sealed");
        }
        service = Service::over(dir.path(), &[]);
        let ended = session.get(&service, "/page");
        assert_eq!(ended.status, 401);
        if everything {
            let gone = service.admin("GET", &format!("/v1/users/{user}")).send().status == 410;
            whole += u32::from(gone);
            let found = proofs(&service, &session, &ended.text());
            assert_eq!(found.len(), usize::from(gone), "round {round}, gone {gone}");
            assert!(found.iter().all(|proof| proof.contains(&name) && holds(&service, proof)));
            continue;
        }
        let path = format!("/v1/users/{user}/records?class=audio");
        let listed = service.admin("GET", &path).send().json();
        let gone = listed["records"].as_array().unwrap().is_empty();
        some += u32::from(gone);
        // Somebody else on the same browser gets nothing of it.
        let other = service.user(&format!("another {round}"));
        service.put(&other, "audio", b"RIFF....");
        let other = Session::enter(&service, &other, Some(&session.cookie));
        assert!(!other.get(&service, "/page/proofs").text().contains(".erased\""));
        let again = Session::enter(&service, &user, Some(&session.cookie));
        let found = proofs(&service, &again, &again.get(&service, "/page/proofs").text());
        assert_eq!(found.len(), usize::from(gone), "round {round}, gone {gone}");
        assert!(found.iter().all(|proof| proof.contains(&name) && holds(&service, proof)));
        let once = Session::enter(&service, &user, Some(&session.cookie));
        let found = proofs(&service, &once, &once.get(&service, "/page/proofs").text());
        assert_eq!(found.len(), usize::from(gone), "round {round}: it is kept once");
    }
    assert!(whole > 0 && some > 0, "some were done before the kill: {whole}, {some}");
}

/// Where a hold covers all of somebody, the page said that it failed, and not which hold it is.
#[test]
fn what_is_held_is_said_with_who_ordered_it_and_why() {
    let service = Service::start();
    let user = service.user("ada");
    service.put(&user, "audio", b"RIFF....");
    let hold = "{\"reason\":\"claim 17\",\"authority\":\"the district court\"}";
    let held = service.admin("POST", &format!("/v1/users/{user}/holds")).json(hold);
    assert_eq!(held.status, 201, "{}", held.text());
    let session = Session::enter(&service, &user, None);
    let form = format!("csrf={}&all=1", session.csrf);
    let request = service.ask("POST", "/page/erase").header("Cookie", &session.cookie);
    let request = request.header("Content-Type", "application/x-www-form-urlencoded");
    let asked = request.body(form.as_bytes());
    assert_eq!(asked.status, 200, "{}", asked.text());
    let row = "claim 17, ordered by the district court, since ";
    assert!(asked.text().contains(row), "{}", asked.text());
    assert!(!asked.text().contains("/page/erase/now"), "there is nothing to be pressed");
}
