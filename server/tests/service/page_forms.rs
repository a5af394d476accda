//! What forms of the user's page do: just what was ticked, and no limit is lifted by them.

use super::kit::{Reply, Service};
use super::page::{Session, between};

/// When an exchange of these tests began: 1 January 2026.
const DAY: &str = "2026-01-01";

/// The number of an exchange, the same in each test.
fn exchange(n: u32) -> String {
    format!("019b77cc-5c00-7001-8001-{n:012x}")
}

/// Keeps a text of a class in an exchange, and gives its id.
fn put(service: &Service, user: &str, class: &str, of: u32) -> String {
    typed(service, user, class, of, "text/plain")
}

fn typed(service: &Service, user: &str, class: &str, of: u32, media_type: &str) -> String {
    let path = format!("/v1/users/{user}/records");
    let put = service.admin("POST", &path).header("Keyfall-Class", class);
    let put = put.header("Keyfall-Interaction", &exchange(of)).header("Content-Type", media_type);
    let put = put.body(format!("a thing of the kind {class}").as_bytes());
    assert_eq!(put.status, 201, "{}", put.text());
    put.json()["id"].as_str().unwrap().to_owned()
}

fn there(service: &Service, id: &str) -> bool {
    match service.admin("HEAD", &format!("/v1/records/{id}")).send().status {
        200 => true,
        410 => false,
        status => panic!("{status}"),
    }
}

/// The values of the buttons or boxes of a name, as they stand in a page.
fn values<'p>(page: &'p str, name: &str) -> Vec<&'p str> {
    let from = format!("name=\"{name}\" value=\"");
    page.split(&from).skip(1).map(|rest| rest.split_once('"').unwrap().0).collect()
}

fn policies(service: &Service, user: &str) -> serde_json::Value {
    service.admin("GET", &format!("/v1/users/{user}/policies")).send().json()
}

fn set(service: &Service, path: &str, policy: &str) {
    let set = service.admin("PUT", path).json(policy);
    assert_eq!(set.status, 204, "{}", set.text());
}

fn refused(answer: &Reply, status: u16, says: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.text().contains(says), "{}", answer.text());
}

/// Of four kinds that were ticked two stayed, and the others were gone for good.
#[test]
fn what_is_ticked_to_stay_stays_or_nothing_is_erased() {
    let service = Service::start();
    let ada = service.user("ada");
    let classes = ["audio", "transcript", "action", "note", "todo"];
    let ids: Vec<String> = classes.iter().map(|class| put(&service, &ada, class, 1)).collect();
    let session = Session::enter(&service, &ada, None);
    let page = session.get(&service, "/page").text();
    let one = format!("one={}", values(&page, "one")[0]);
    let four = "keep=transcript&keep=action&keep=note&keep=todo";
    let asked = session.send(&service, "/page/erase", &one).text();
    assert_eq!(values(&asked, "keep"), ["transcript", "action", "note", "todo"]);
    assert!(asked.contains("At most 3 kinds can be kept at one time."), "{asked}");
    let day = session.send(&service, "/page/erase", &format!("day={DAY}")).text();
    assert!(day.contains("At most 2 kinds can be kept at one time."), "{day}");

    for path in ["/page/erase/now", "/page/erase/later"] {
        for (what, most) in [(one.as_str(), 3), ("all=1", 3), (&format!("day={DAY}"), 2)] {
            let answer = session.send(&service, path, &format!("{what}&{four}"));
            refused(&answer, 400, &format!("At most {most} kinds can be kept at one time. You"));
        }
        let class = session.send(&service, path, "class=note&keep=todo");
        refused(&class, 400, "All of one kind goes whole");
        for unclear in ["keep=%21", "keep=todo&keep=", "turn=1"] {
            let what = if unclear.starts_with("keep") { "all=1" } else { "turn=x" };
            let answer = session.send(&service, path, &format!("{what}&{unclear}"));
            refused(&answer, 400, "A part of what was named is not known here");
        }
        let ticked = format!("{}&turn=1", one.replace("one", "turn"));
        let answer = session.send(&service, path, &ticked);
        refused(&answer, 400, "A part of what was named is not known here");
    }
    assert!(ids.iter().all(|id| there(&service, id)), "nothing was erased");
    let plans = service.admin("GET", &format!("/v1/users/{ada}/plans")).send().json();
    assert!(plans.as_array().unwrap().is_empty(), "{plans}");

    let three = "keep=transcript&keep=action&keep=todo&keep=todo";
    let said = session.done(&service, "/page/erase/later", &format!("all=1&{three}"));
    assert!(said.contains("It stays then, as you wished: transcripts, actions and “todo”."));
    session.done(&service, "/page/erase/now", &format!("{one}&{three}"));
    let left: Vec<bool> = ids.iter().map(|id| there(&service, id)).collect();
    assert_eq!(left, [false, true, true, false, true]);
}

/// The policy of a record was replaced by that of the page, under which its scripts ran.
#[test]
fn what_an_application_stores_is_no_page_of_this_service() {
    let service = Service::start();
    let ada = service.user("ada");
    let types = [
        ("text/html", false),
        ("application/xhtml+xml", false),
        ("image/svg+xml", false),
        ("text/javascript", false),
        ("text/plainly", false),
        ("application/pdf", false),
        ("text/plain", true),
        ("TEXT/Plain; charset=utf-8", true),
        ("audio/wav", true),
    ];
    for (n, (media_type, _)) in (1..).zip(types) {
        // A reader of this kind is named, so the list has a link to it.
        typed(&service, &ada, "file", n, media_type);
    }
    typed(&service, &ada, "audio", 99, "image/svg+xml");
    let named = "{\"class\":\"file\",\"readers_named\":true}";
    set(&service, &format!("/v1/users/{ada}/policies"), named);
    let session = Session::enter(&service, &ada, None);
    let page = session.get(&service, "/page").text();
    let paths: Vec<&str> = page.split("\"/page/records/").skip(1).collect();
    assert_eq!(paths.len(), types.len() + 1, "{page}");
    assert_eq!(page.matches(">Open it<").count(), 3, "{page}");
    assert_eq!(page.matches(">Download it<").count(), 6, "{page}");
    for path in paths {
        let path = format!("/page/records/{}", path.split_once('"').unwrap().0);
        for method in ["GET", "HEAD"] {
            let request = service.ask(method, &path).header("Cookie", &session.cookie);
            let answer = request.send();
            assert_eq!(answer.status, 200, "{}", answer.text());
            let kind = answer.header("content-type").unwrap();
            let opens = types.iter().any(|(one, opens)| *one == kind && *opens);
            let policies = answer.headers.iter().filter(|(n, _)| n == "content-security-policy");
            let policies: Vec<&str> = policies.map(|(_, policy)| policy.as_str()).collect();
            assert_eq!(policies, ["default-src 'none'; sandbox"], "{kind}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{kind}");
            let saved = (!opens).then_some("attachment");
            assert_eq!(answer.header("content-disposition"), saved, "{method} {kind}");
        }
    }
    let policy = session.get(&service, "/page");
    let policy = policy.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'self'"), "{policy}");
}

/// A choice of how long dropped what else a policy said: its number, its date.
#[test]
fn a_choice_of_how_long_changes_nothing_but_that() {
    let service = Service::start();
    let kim = service.user("kim");
    let own = format!("/v1/users/{kim}/policies");
    let until = "2099-01-01T00:00:00Z";
    set(&service, "/v1/policies", &format!("{{\"class\":\"audio\",\"until\":\"{until}\"}}"));
    set(&service, "/v1/policies", "{\"class\":\"note\",\"max_age\":\"200d\"}");
    let purpose = "{\"class\":\"audio\",\"purpose\":\"advice\",\"max_age\":\"12h\"}";
    set(&service, "/v1/policies", purpose);
    let number = "{\"class\":\"transcript\",\"max_records\":5,\"max_age\":\"1000d\"}";
    set(&service, &own, number);
    let child = Session::enter_as(&service, &kim, "{\"role\":\"child\"}");
    let before = policies(&service, &kim);
    for longer in ["months", "open", "day"] {
        for sure in ["", "&sure=1"] {
            let answer = child.send(&service, "/page/keep", &format!("keep={longer}{sure}"));
            assert!(!answer.text().contains("From now on"), "{longer}: {}", answer.text());
            assert_eq!(policies(&service, &kim), before, "{longer}: a purpose has less");
        }
    }
    let adult = Session::enter(&service, &kim, None);
    let form = adult.get(&service, "/page/keep").text();
    assert!(form.contains("For some kinds a rule also sets a number or a date"), "{form}");
    assert!(form.contains("This service does not keep every kind that long."), "{form}");
    assert!(!form.contains("It does not end by itself."), "{form}");
    for session in [&child, &adult] {
        let done = session.send(&service, "/page/keep", "keep=nothing").text();
        assert!(done.contains("From now on: Not at all."), "{done}");
        let all = policies(&service, &kim);
        let of = |class: &str, purpose: Option<&str>| {
            let found =
                all.as_array().unwrap().iter().find(|policy| {
                    policy["class"] == class && policy["purpose"].as_str() == purpose
                });
            found.unwrap_or_else(|| panic!("{class} {purpose:?} in {all}")).clone()
        };
        for class in ["audio", "transcript", "action", "note"] {
            assert_eq!(of(class, None)["max_age_seconds"], 600, "{all}");
        }
        assert!(of("audio", None)["until"].as_str().unwrap().starts_with("2099-01-01"), "{all}");
        assert_eq!(of("transcript", None)["max_records"], 5, "{all}");
    }
    // Whoever may lengthen it goes no further than the store does, of each kind.
    let done = adult.send(&service, "/page/keep", "keep=open").text();
    assert!(done.contains("What this service keeps for a shorter time goes sooner."), "{done}");
    let all = policies(&service, &kim);
    let ages = all.as_array().unwrap().iter().map(|policy| {
        let text = |name: &str| policy[name].as_str().unwrap_or("-").to_owned();
        let max = (policy["max_age_seconds"].as_u64(), policy["max_records"].as_u64());
        (text("class"), text("purpose"), max, text("until") == "-")
    });
    let mut ages: Vec<_> = ages.collect();
    ages.sort();
    let row = |class: &str, purpose: &str, age, number, undated| {
        (class.to_owned(), purpose.to_owned(), (age, number), undated)
    };
    assert_eq!(
        ages,
        [
            row("action", "-", None, None, true),
            row("audio", "-", None, None, false),
            row("audio", "advice", Some(12 * 3600), None, true),
            row("note", "-", Some(200 * 86400), None, true),
            row("transcript", "-", None, Some(5), true),
        ]
    );
}

/// A child called off what their guardian planned, and kept what would have gone with its source.
#[test]
fn a_child_has_nothing_kept_longer_by_any_form() {
    let service = Service::start();
    let kim = service.user("kim");
    let ids = ["audio", "transcript"].map(|class| put(&service, &kim, class, 1));
    let guardian = "{\"role\":\"guardian\",\"guardian\":\"Erika Muster\"}";
    let guardian = Session::enter_as(&service, &kim, guardian);
    let child = Session::enter_as(&service, &kim, "{\"role\":\"child\"}");
    let said = guardian.done(&service, "/page/erase/later", "class=audio");
    assert!(said.contains("You can call it off in the list until then."), "{said}");
    let plan = guardian.get(&service, "/page").text();
    let plan = format!("plan={}", between(&plan, "name=\"plan\" value=\"", "\"").unwrap());
    let page = child.get(&service, "/page").text();
    assert!(values(&page, "plan").is_empty(), "{page}");
    let only = "Only the person who looks after this profile can call off what is planned.";
    assert!(page.contains(only), "{page}");
    let plans = || {
        let plans = service.admin("GET", &format!("/v1/users/{kim}/plans")).send().json();
        plans.as_array().unwrap().len()
    };
    refused(&child.send(&service, "/page/erase/cancel", &plan), 403, only);
    assert_eq!(plans(), 1);
    assert_eq!(guardian.send(&service, "/page/erase/cancel", "plan=x").status, 404);
    assert_eq!(guardian.send(&service, "/page/erase/cancel", &plan).status, 303);
    assert_eq!(plans(), 0);

    let asked = child.send(&service, "/page/erase", "all=1").text();
    assert!(values(&asked, "keep").is_empty() && !asked.contains("You can call it off"), "{asked}");
    let kept = child.send(&service, "/page/erase/now", "all=1&keep=transcript");
    refused(&kept, 403, "What you keep would no longer be erased with what it was made from.");
    assert!(ids.iter().all(|id| there(&service, id)), "nothing was erased");
    let said = child.done(&service, "/page/erase/later", "all=1");
    assert!(said.contains("Only the person who looks after this profile can call it off."));
    // The button of a guardian shortens, and says so of what it did alone.
    let day = guardian.send(&service, "/page/keep", "keep=months&child=1&sure=1").text();
    assert!(day.contains("From now on: 3 months.") && !day.contains("a day at most."), "{day}");
}

/// The page said of a planned erase that everything goes, where a class of it stays.
#[test]
fn what_the_page_says_of_a_plan_is_what_will_happen() {
    let service = Service::start();
    let ada = service.user("ada");
    put(&service, &ada, "note", 1);
    put(&service, &ada, "audio", 2);
    put(&service, &ada, "note", 2);
    let scope = |more: &str, rest: &str| {
        let json = format!("{{\"scope\":{{\"user\":\"{ada}\"{more}}},\"in\":\"9d\"{rest}}}");
        let planned = service.admin("POST", "/v1/erasures").json(&json);
        assert_eq!(planned.status, 202, "{}", planned.text());
    };
    scope("", ",\"keep\":[\"note\"],\"reason\":\"wanted\"");
    scope(",\"before\":\"2020-01-01\"", "");
    let of = exchange(2);
    scope(&format!(",\"class\":\"audio\",\"interaction\":\"{of}\""), "");
    scope(",\"class\":\"audio\",\"after\":\"2025-01-01\",\"before\":\"2025-01-02\"", "");
    for (language, stays, rows) in [
        (
            "en",
            "Kept until you erase it.",
            [
                "everything, except “note”.",
                "everything, before 1 January 2020, 00:00.",
                "a part of the entry of 1 January, ",
                "all recordings, from 1 January 2025, 00:00 until 2 January 2025, 00:00.",
            ],
        ),
        (
            "de",
            "Aufbewahrt, bis Sie es löschen.",
            [
                "alles, bis auf „note“.",
                "alles, vor dem 1. Januar 2020, 00:00 Uhr.",
                "ein Teil des Eintrags vom 1. Januar, ",
                "alle Aufnahmen, vom 1. Januar 2025, 00:00 Uhr bis zum 2. Januar 2025, 00:00 Uhr.",
            ],
        ),
    ] {
        let asked = format!("{{\"language\":\"{language}\"}}");
        let session = Session::enter_as(&service, &ada, &asked);
        let page = session.get(&service, "/page").text();
        let year = if page.contains("1 January 2026") || page.contains("1. Januar 2026") {
            " 2026,"
        } else {
            ","
        };
        for row in rows {
            let row = row.replace("1 January, ", &format!("1 January{year} "));
            let row = row.replace("1. Januar, ", &format!("1. Januar{year} "));
            assert!(page.contains(&row), "{row} in {page}");
        }
        // No exchange goes whole: each has a note, which stays.
        assert!(!page.contains("class=\"badge\""), "{page}");
        assert!(page.contains(stays), "{page}");
    }
}

/// Of forty things that one form planned, those that fitted were planned, and all were said to be.
#[test]
fn a_form_plans_all_or_nothing_and_says_which() {
    let service = Service::start();
    let ada = service.user("ada");
    for n in 1..=34 {
        put(&service, &ada, "note", n);
    }
    let session = Session::enter(&service, &ada, None);
    let page = session.get(&service, "/page").text();
    let turns = values(&page, "turn");
    let form: Vec<String> = turns.iter().map(|turn| format!("turn={turn}")).collect();
    assert!(form.len() > 32, "{}", form.len());
    let plans = || {
        let plans = service.admin("GET", &format!("/v1/users/{ada}/plans")).send().json();
        plans.as_array().unwrap().len()
    };
    let form = form[..33].join("&");
    let said = session.done(&service, "/page/erase/later", &form);
    assert!(said.contains("It goes on ") && plans() == 33, "{said}");
    let said = session.done(&service, "/page/erase/later", &form);
    assert!(!said.contains("It goes on ") && plans() == 33, "{said}");
    assert!(said.contains("this does not fit, so none of it was planned."), "{said}");
    let hold = "{\"reason\":\"claim 17\",\"authority\":\"the district court\"}";
    let held = service.admin("POST", &format!("/v1/users/{ada}/holds")).json(hold);
    assert_eq!(held.status, 201, "{}", held.text());
    let said = session.done(&service, "/page/erase/later", "class=note");
    assert!(!said.contains("It goes on ") && said.contains("It is planned for "), "{said}");
    assert!(said.contains("A legal hold covers some of it: it stays unless"), "{said}");
}

/// "Kept until you erase it" was said where a number may take it sooner.
#[test]
fn what_a_number_may_take_sooner_is_said() {
    let service = Service::start();
    let ada = service.user("ada");
    put(&service, &ada, "note", 1);
    let own = format!("/v1/users/{ada}/policies");
    set(&service, &own, "{\"class\":\"note\",\"max_records\":3}");
    let session = Session::enter(&service, &ada, None);
    let page = session.get(&service, "/page").text();
    assert!(page.contains("It may go sooner: only so many of its kind are kept."), "{page}");
    assert!(!page.contains("Kept until you erase it."), "{page}");
}

/// Ranges that a player asks for at once were a line each in the report.
#[test]
fn parts_that_are_asked_for_at_once_are_one_line() {
    let service = Service::start();
    let ada = service.user("ada");
    let named = "{\"class\":\"note\",\"readers_named\":true}";
    set(&service, &format!("/v1/users/{ada}/policies"), named);
    let id = put(&service, &ada, "note", 1);
    let session = Session::enter(&service, &ada, None);
    let page = session.get(&service, "/page").text();
    let path = format!("/page/records/{}", between(&page, "href=\"/page/records/", "\"").unwrap());
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                let request = service.ask("GET", &path).header("Cookie", &session.cookie);
                assert_eq!(request.header("Range", "bytes=0-3").send().status, 206);
            });
        }
    });
    let lines = service.admin("GET", &format!("/v1/records/{id}/openings")).send().json();
    assert_eq!(lines.as_array().unwrap().len(), 1, "{lines}");
}
