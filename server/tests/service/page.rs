//! The user's page without a browser: what becomes of its erases when the service is killed.

use keyfall::certificate::{Certificate, Trust};

use super::kit::{Reply, Service, goes_on, moment};

/// A session on a page: its cookie, and what its forms bear.
pub(super) struct Session {
    pub(super) cookie: String,
    pub(super) csrf: String,
}

impl Session {
    /// Enters by a link, with the cookie that the browser has from before.
    pub(super) fn enter(service: &Service, handle: &str, before: Option<&str>) -> Session {
        Session::by(service, &link(service, handle), before)
    }

    /// The same, by a link that is asked for so.
    pub(super) fn enter_as(service: &Service, handle: &str, asked: &str) -> Session {
        Session::by(service, &link_as(service, handle, asked), None)
    }

    /// The same, by a link, with what the browser has already.
    pub(super) fn by(service: &Service, link: &str, before: Option<&str>) -> Session {
        let (mut cookies, form) = shown(service, link);
        if let Some(cookie) = before {
            cookies = format!("{cookies}; {cookie}");
        }
        let entered = post(service, link, &cookies, &form);
        assert_eq!(entered.status, 303, "{}", entered.text());
        let cookie = pair(&entered);
        let page = service.ask("GET", "/page").header("Cookie", &cookie).send().text();
        let csrf = between(&page, "name=\"csrf\" value=\"", "\"").unwrap().to_owned();
        Session { cookie, csrf }
    }

    pub(super) fn get(&self, service: &Service, path: &str) -> Reply {
        service.ask("GET", path).header("Cookie", &self.cookie).send()
    }

    /// Sends a form.
    pub(super) fn send(&self, service: &Service, path: &str, what: &str) -> Reply {
        post(service, path, &self.cookie, &format!("csrf={}&{what}", self.csrf))
    }

    /// Sends a form that is done, and gives the page that says so.
    pub(super) fn done(&self, service: &Service, path: &str, what: &str) -> String {
        let sent = self.send(service, path, what);
        assert_eq!(sent.status, 303, "{}", sent.text());
        self.get(service, sent.header("location").unwrap()).text()
    }

    /// A form that erases at once.
    pub(super) fn erase<'s>(&self, service: &'s Service, what: &str) -> super::kit::Request<'s> {
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

/// The first cookie that an answer sets.
fn pair(answer: &Reply) -> String {
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

/// Looks at a link: the cookie that the browser has then, and the form that it is shown.
fn shown(service: &Service, link: &str) -> (String, String) {
    let asked = service.ask("GET", link).send();
    assert_eq!(asked.status, 200, "{}", asked.text());
    let page = asked.text();
    let entry = between(&page, "name=\"entry\" value=\"", "\"").unwrap();
    (pair(&asked), format!("entry={entry}"))
}

pub(super) fn post(service: &Service, path: &str, cookies: &str, form: &str) -> Reply {
    let request = service.ask("POST", path).header("Cookie", cookies);
    let request = request.header("Content-Type", "application/x-www-form-urlencoded");
    request.body(form.as_bytes())
}

fn link(service: &Service, handle: &str) -> String {
    link_as(service, handle, "{}")
}

fn link_as(service: &Service, handle: &str, asked: &str) -> String {
    let made = service.admin("POST", &format!("/v1/users/{handle}/page-links")).json(asked);
    made.json()["url"].as_str().unwrap().to_owned()
}

pub(super) fn between<'t>(text: &'t str, from: &str, to: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(from)?;
    Some(rest.split_once(to)?.0)
}

pub(super) fn holds(service: &Service, text: &str) -> bool {
    let log = service.ask("GET", "/log/key").send().text().trim().parse().unwrap();
    text.parse::<Certificate>().unwrap().verify(&Trust::in_log(log)).is_ok()
}

/// The proofs that a page links to, each as a text.
pub(super) fn proofs(service: &Service, session: &Session, page: &str) -> Vec<String> {
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
    for round in 0u64.. {
        if !goes_on(round, 24, whole > 0 && some > 0) {
            break;
        }
        let everything = round % 2 == 0;
        let name = format!("mensch-unikat-{round}");
        let user = service.user(&name);
        service.put(&user, "audio", b"RIFF....");
        service.put(&user, "transcript", b"set a timer");
        let session = Session::enter(&service, &user, None);
        let what = if everything { "all=1" } else { "class=audio" };
        let stream = session.erase(&service, what).stream();
        std::thread::sleep(moment(round));
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

/// Keeps a text that the page shows.
fn said(service: &Service, handle: &str, text: &str) -> String {
    let path = format!("/v1/users/{handle}/records");
    let put = service.admin("POST", &path).header("Keyfall-Class", "transcript");
    let put = put.header("Content-Type", "text/plain").body(text.as_bytes());
    put.json()["id"].as_str().unwrap().to_owned()
}

/// A link, and a session, were of a name: they opened the page of whoever had the name next.
#[test]
fn nothing_of_somebody_who_was_erased_opens_the_page_of_who_has_the_name_next() {
    let service = Service::start();
    let first = service.user("ada");
    said(&service, &first, "what the first one said");
    let unused = link(&service, &first);
    let (cookies, form) = shown(&service, &unused);
    let session = Session::enter(&service, &first, None);
    let before = session.get(&service, "/page");
    assert!(before.text().contains("what the first one said"));
    let erased = session.erase(&service, "all=1").send();
    assert_eq!(erased.status, 303, "{}", erased.text());
    let done = erased.header("location").unwrap().to_owned();
    let told = session.get(&service, &done);
    assert_eq!(told.status, 200, "while nobody has the name the session goes on");
    assert_eq!(proofs(&service, &session, &told.text()).len(), 1);
    assert_eq!(service.ask("GET", &unused).send().status, 410);
    assert_eq!(post(&service, &unused, &cookies, &form).status, 410);

    let second = service.user("ada");
    let record = said(&service, &second, "what the second one said");
    assert_ne!(first, second);
    assert_eq!(service.ask("GET", &unused).send().status, 410);
    assert_eq!(post(&service, &unused, &cookies, &form).status, 410);
    for path in ["/page", "/page/keep", "/page/proofs", "/page/sure", "/page/export.zip", &done] {
        let answer = session.get(&service, path);
        assert_eq!(answer.status, 401, "{path}: {}", answer.text());
        assert!(!answer.text().contains("the second one"), "{path}");
    }
    for (path, what) in [
        ("/page/erase", "all=1"),
        ("/page/erase/now", "all=1"),
        ("/page/erase/later", "all=1"),
        ("/page/keep", "keep=nothing&sure=1"),
    ] {
        let form = format!("csrf={}&{what}", session.csrf);
        assert_eq!(post(&service, path, &session.cookie, &form).status, 401, "{path}");
    }
    let path = format!("/v1/records/{record}");
    let read = service.admin("GET", &path).header("Keyfall-Purpose", "a test").send();
    assert_eq!(read.text(), "what the second one said");
    // The proof of what the first one erased is still theirs.
    let ended = session.get(&service, "/page").text();
    let found = proofs(&service, &session, &ended);
    assert!(found.len() == 1 && holds(&service, &found[0]), "{ended}");
    assert_eq!(proofs(&service, &session, &told.text()).len(), 1);
    assert!(holds(&service, &proofs(&service, &session, &told.text())[0]));
}

/// What the page of somebody who was erased sends begins no new life of the name.
#[test]
fn the_page_of_somebody_who_was_erased_brings_nobody_back() {
    let service = Service::start();
    let ada = service.user("ada");
    service.put(&ada, "audio", b"RIFF....");
    let session = Session::enter(&service, &ada, None);
    assert_eq!(session.erase(&service, "all=1").send().status, 303);
    for (path, what) in [
        ("/page/erase/later", "class=audio"),
        ("/page/erase/now", "class=audio"),
        ("/page/keep", "keep=day&sure=1"),
    ] {
        let form = format!("csrf={}&{what}", session.csrf);
        let answer = post(&service, path, &session.cookie, &form);
        assert!([303, 410].contains(&answer.status), "{path}: {}", answer.text());
        assert_eq!(service.admin("GET", &format!("/v1/users/{ada}")).send().status, 410);
    }
    let users = service.admin("GET", "/v1/status").send().json();
    assert_eq!(users["users"], 0, "{users}");
}

/// Another site could sign a browser in to the page of its author.
#[test]
fn another_site_signs_nobody_in() {
    let service = Service::start();
    let (ada, eve) = (service.user("ada"), service.user("eve"));
    let lure = link(&service, &eve);
    let (_, of_eve) = shown(&service, &lure);
    let (cookie, own) = shown(&service, &lure);
    let other = link(&service, &eve);
    let (_, of_other) = shown(&service, &other);
    let refused = |answer: &Reply| {
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(answer.text().contains("Open my page"), "it can be pressed here");
        assert!(answer.text().contains("Press the button once more."));
        let set = pair(answer);
        assert!(set.starts_with("__Host-keyfall-enter="), "no session: {set}");
    };
    refused(&service.ask("POST", &lure).send());
    refused(&post(&service, &lure, "", &own));
    refused(&post(&service, &lure, &cookie, ""));
    refused(&post(&service, &lure, &cookie, &of_eve));
    refused(&post(&service, &lure, &cookie, &of_other));
    let request = service.ask("POST", &lure).header("Cookie", &cookie);
    let request = request.header("Content-Type", "application/x-www-form-urlencoded");
    refused(&request.header("Sec-Fetch-Site", "cross-site").body(own.as_bytes()));

    // Who has a page open is asked before another one takes its place.
    let session = Session::enter(&service, &ada, None);
    let cookies = format!("{cookie}; {}", session.cookie);
    let asked = post(&service, &lure, &cookies, &own);
    assert_eq!(asked.status, 200, "{}", asked.text());
    assert!(asked.text().contains("the page of ada") && asked.text().contains("that of eve"));
    assert!(asked.header("set-cookie").is_none());
    assert_eq!(session.get(&service, "/page").status, 200);
    let entered = post(&service, &lure, &cookies, &format!("{own}&switch=1"));
    assert_eq!(entered.status, 303, "{}", entered.text());
    assert_eq!(session.get(&service, "/page").status, 401, "the one before ended");
    // The same person's next link needs no asking.
    let again = Session::enter(&service, &eve, Some(&pair(&entered)));
    assert_eq!(again.get(&service, "/page").status, 200);
}

/// Whoever guesses codes is slowed down, and is told for how long.
#[test]
fn codes_are_tried_at_a_pace() {
    let service = Service::start();
    let guess = |n: u32| post(&service, "/page/receipt", "", &format!("code=aaaaa-{n:05}"));
    let first = guess(0);
    assert_eq!(first.status, 404, "{}", first.text());
    let slow = (1..200).map(guess).find(|answer| answer.status != 404).unwrap();
    assert_eq!(slow.status, 429, "{}", slow.text());
    assert!(slow.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert!(slow.text().contains("That was too often") && slow.text().contains("name=\"code\""));
    assert_eq!(service.ask("GET", "/page/receipt").send().status, 200);
}
