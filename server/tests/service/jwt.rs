//! Tokens of an issuer: what they open, and what no token opens.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::certificates::{openssl, wait_for};
use super::kit::{Service, absent};

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "keyfall";

/// A key that signs, with its id.
struct Signer {
    id: String,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    fn new(dir: &Path, id: &str, algorithm: Algorithm) -> Signer {
        let make = match algorithm {
            Algorithm::EdDSA => "genpkey -algorithm ed25519 -outform DER",
            Algorithm::ES256 => {
                "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -outform DER"
            }
            _ => "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        };
        openssl(dir, &format!("{make} -out {id}.key"));
        // In the form that the library reads: RSA as PKCS#1, the others as PKCS#8.
        let form = match algorithm {
            Algorithm::RS256 => format!("rsa -in {id}.key -traditional"),
            Algorithm::ES256 => format!("pkcs8 -topk8 -nocrypt -inform DER -in {id}.key"),
            _ => format!("pkey -inform DER -in {id}.key"),
        };
        openssl(dir, &format!("{form} -outform DER -out {id}.der"));
        let der = std::fs::read(dir.join(format!("{id}.der"))).unwrap();
        let key = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_der(&der),
            Algorithm::ES256 => EncodingKey::from_ec_der(&der),
            _ => EncodingKey::from_rsa_der(&der),
        };
        Signer { id: id.to_owned(), algorithm, key }
    }

    fn jwk(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.clone());
        jwk
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.header(), claims)
    }

    fn header(&self) -> Header {
        Header { kid: Some(self.id.clone()), ..Header::new(self.algorithm) }
    }

    fn sign_as(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// The claims of a desk that may read for a support case.
fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": ["other", AUDIENCE], "sub": "desk 7",
        "exp": now() + 600, "nbf": now() - 5, "iat": now() - 5,
        "scope": "openid read:audio status", "keyfall_users": "any",
        "keyfall_purposes": ["support case"], "keyfall_default_purpose": "support case",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn write(dir: &Path, signers: &[&Signer]) -> PathBuf {
    let keys: Vec<Jwk> = signers.iter().map(|signer| signer.jwk()).collect();
    let place = dir.join("jwks.json");
    std::fs::write(&place, json!({ "keys": keys }).to_string()).unwrap();
    place
}

fn started(dir: &Path, signers: &[&Signer], more: &[&str]) -> Service {
    let jwks = write(dir, signers);
    let mut arguments = vec!["--jwks", jwks.to_str().unwrap()];
    arguments.extend(["--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE]);
    arguments.extend(more);
    Service::over(dir, &arguments)
}

fn ask(service: &Service, path: &str, token: &str) -> u16 {
    service.ask("GET", path).header("Authorization", &format!("Bearer {token}")).send().status
}

#[test]
fn a_token_of_the_issuer_is_a_credential_by_each_algorithm() {
    let dir = tempfile::TempDir::new().unwrap();
    let signers: Vec<Signer> = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256]
        .into_iter()
        .map(|algorithm| Signer::new(dir.path(), &format!("{algorithm:?}"), algorithm))
        .collect();
    let service = started(dir.path(), &signers.iter().collect::<Vec<_>>(), &[]);
    let ada = service.user("ada");
    let record = format!("/v1/records/{}", service.put(&ada, "audio", b"RIFF"));
    for signer in &signers {
        let token = signer.sign(&claims());
        assert_eq!(ask(&service, "/v1/status", &token), 200, "{:?}", signer.algorithm);
        assert_eq!(ask(&service, &record, &token), 200);
        assert_eq!(ask(&service, "/v1/credentials", &token), 403, "not one of its scopes");
        assert_eq!(ask(&service, &format!("/v1/users/{ada}"), &token), 403);
    }
    let openings = service.admin("GET", &format!("{record}/openings")).send().json();
    assert_eq!(openings[0]["principal"], "desk 7");
    assert_eq!(openings[0]["purpose"], "support case");

    // Users: of a list; the one who has the principal's name.
    let ben = service.user("ben");
    let signer = &signers[0];
    let listed = signer.sign(&with("keyfall_users", json!([ben])));
    assert_eq!(ask(&service, &record, &listed), 403);
    let mut own = with("keyfall_users", json!("own"));
    own["sub"] = json!("ada");
    assert_eq!(ask(&service, &record, &signer.sign(&own)), 200);
    own["sub"] = json!("ben");
    assert_eq!(ask(&service, &record, &signer.sign(&own)), 403);
    own["sub"] = json!("nobody");
    assert_eq!(ask(&service, &record, &signer.sign(&own)), 403);
    let admin = signer.sign(&with("scope", json!("admin")));
    assert_eq!(ask(&service, "/v1/credentials", &admin), 200);
}

#[test]
fn a_token_that_lacks_a_claim_or_is_for_others_opens_nothing() {
    let dir = tempfile::TempDir::new().unwrap();
    let signer = Signer::new(dir.path(), "ed", Algorithm::EdDSA);
    let service = started(dir.path(), &[&signer], &[]);
    let status = |claims: &Value| ask(&service, "/v1/status", &signer.sign(claims));
    assert_eq!(status(&claims()), 200);
    for name in ["iss", "aud", "sub", "exp", "nbf", "keyfall_users", "scope"] {
        assert_eq!(status(&without(name)), 401, "without {name}");
        assert_eq!(status(&with(name, Value::Null)), 401, "{name} is null");
    }
    let wrong = [
        ("iss", json!("https://issuer.example/")),
        ("iss", json!([ISSUER])),
        ("aud", json!("another")),
        ("aud", json!([])),
        ("exp", json!(now() - 60)),
        ("exp", json!("tomorrow")),
        ("nbf", json!(now() + 60)),
        ("sub", json!("")),
        ("keyfall_users", json!("all")),
        ("keyfall_users", json!(["no handle"])),
        ("keyfall_default_purpose", json!("another purpose")),
        ("scope", json!("openid profile")),
    ];
    for (name, value) in wrong {
        assert_eq!(status(&with(name, value.clone())), 401, "{name} is {value}");
    }
    assert_eq!(status(&with("aud", json!(AUDIENCE))), 200);
}

/// A token with a header and a signature of one's own.
fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = BASE64URL_NOPAD.encode(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

#[test]
fn no_header_decides_how_a_token_is_checked() {
    let dir = tempfile::TempDir::new().unwrap();
    let ed = Signer::new(dir.path(), "ed", Algorithm::EdDSA);
    let rsa = Signer::new(dir.path(), "rsa", Algorithm::RS256);
    let stranger = Signer::new(dir.path(), "stranger", Algorithm::EdDSA);
    let service = started(dir.path(), &[&ed, &rsa], &[]);
    let status = |token: &str| ask(&service, "/v1/status", token);
    assert_eq!(status(&ed.sign(&claims())), 200);

    // No signature.
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = json!({"alg": alg, "typ": "JWT", "kid": "ed"});
        assert_eq!(status(&token(&header, &claims(), |_| Vec::new())), 401, "{alg}");
        assert_eq!(status(&token(&header, &claims(), |_| vec![0; 64])), 401, "{alg}");
    }
    let whole = ed.sign(&claims());
    assert_eq!(status(&whole[..=whole.rfind('.').unwrap()]), 401, "the signature is cut off");
    // A public key as the secret of an HMAC: the key itself, the JWK, its modulus.
    let public = serde_json::to_value(ed.jwk()).unwrap();
    let modulus = serde_json::to_value(rsa.jwk()).unwrap();
    let secrets = [
        ("ed", BASE64URL_NOPAD.decode(public["x"].as_str().unwrap().as_bytes()).unwrap()),
        ("ed", public.to_string().into_bytes()),
        ("rsa", BASE64URL_NOPAD.decode(modulus["n"].as_str().unwrap().as_bytes()).unwrap()),
        ("rsa", modulus["n"].as_str().unwrap().as_bytes().to_vec()),
        ("ed", Vec::new()),
    ];
    for (kid, secret) in secrets {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
            let key = EncodingKey::from_secret(&secret);
            let forged = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
            assert_eq!(status(&forged), 401, "{algorithm:?} with the key of {kid}");
        }
    }
    // Another algorithm of the same family, and a key of another algorithm.
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        let header = Header { alg: algorithm, ..rsa.header() };
        assert_eq!(status(&rsa.sign_as(&header, &claims())), 401, "{algorithm:?}");
    }
    let header = Header { kid: Some("rsa".to_owned()), ..ed.header() };
    assert_eq!(status(&ed.sign_as(&header, &claims())), 401, "the key of another");
    // A key that the token brings along, or says where to find.
    let brought = Header { jwk: Some(stranger.jwk()), ..ed.header() };
    assert_eq!(status(&stranger.sign_as(&brought, &claims())), 401);
    let brought = Header { jku: Some("https://evil.example/jwks".to_owned()), ..ed.header() };
    assert_eq!(status(&stranger.sign_as(&brought, &claims())), 401);
    // No kid, a kid that no key has, another's key with a known kid.
    assert_eq!(status(&ed.sign_as(&Header { kid: None, ..ed.header() }, &claims())), 401);
    assert_eq!(status(&stranger.sign(&claims())), 401);
    let header = Header { kid: Some("ed".to_owned()), ..stranger.header() };
    assert_eq!(status(&stranger.sign_as(&header, &claims())), 401);
    // A header that has to be understood, a token of another kind, changed claims, a long token.
    let critical = Header { crit: Some(vec!["b64".to_owned()]), ..ed.header() };
    assert_eq!(status(&ed.sign_as(&critical, &claims())), 401);
    let other = Header { typ: Some("dpop+jwt".to_owned()), ..ed.header() };
    assert_eq!(status(&ed.sign_as(&other, &claims())), 401);
    let parts: Vec<&str> = whole.split('.').collect();
    let more = BASE64URL_NOPAD.encode(with("scope", json!("admin")).to_string().as_bytes());
    assert_eq!(status(&format!("{}.{more}.{}", parts[0], parts[2])), 401);
    assert_eq!(status(&ed.sign(&with("scope", json!("status ".repeat(2000))))), 401);
    assert!(!service.log().contains(&whole) && !service.log().contains("desk 7"));
}

#[test]
fn keys_are_read_again_and_a_bad_file_changes_nothing() {
    let dir = tempfile::TempDir::new().unwrap();
    let (old, new) = (
        Signer::new(dir.path(), "old", Algorithm::EdDSA),
        Signer::new(dir.path(), "new", Algorithm::ES256),
    );
    let service = started(dir.path(), &[&old], &[]);
    let status = |signer: &Signer| ask(&service, "/v1/status", &signer.sign(&claims()));
    assert_eq!((status(&old), status(&new)), (200, 401));
    write(dir.path(), &[&new]);
    wait_for("the new key opens", || status(&new) == 200);
    assert_eq!(status(&old), 401, "a key that is taken out opens nothing");
    std::fs::write(dir.path().join("jwks.json"), "{").unwrap();
    wait_for("it is told", || service.log().contains("this is no JWK set"));
    assert_eq!(status(&new), 200);
}

#[test]
fn a_file_of_keys_is_refused_with_its_remedy() {
    let dir = tempfile::TempDir::new().unwrap();
    let signer = Signer::new(dir.path(), "ed", Algorithm::EdDSA);
    let jwk = serde_json::to_value(signer.jwk()).unwrap();
    let and = |name: &str, value: &str| {
        let mut jwk = jwk.clone();
        jwk[name] = json!(value);
        jwk
    };
    let for_ = |act: &str| {
        let mut jwk = jwk.clone();
        jwk["key_ops"] = json!([act]);
        jwk
    };
    // y = 1, and y = 0 with the other sign of x.
    let weak = |byte: u8| {
        let mut point = [0; 32];
        point[if byte == 1 { 0 } else { 31 }] = byte;
        BASE64URL_NOPAD.encode(&point)
    };
    let place = dir.path().join("jwks.json");
    let cases = [
        (json!({"keys": [jwk]}), ""),
        (json!({"keys": [jwk, {"kty": "EC", "crv": "P-521", "kid": "x", "x": "", "y": ""}]}), ""),
        (json!({"keys": []}), "no key in it can be used"),
        (json!([]), "no key in it can be used"),
        (json!({"keys": [jwk, jwk]}), "the same kid"),
        (json!({"keys": [and("d", "AAAA")]}), "secret key"),
        (json!({"keys": [jwk, {"kty": "oct", "kid": "s", "k": "AAAA"}]}), "secret key"),
        (json!({"keys": [and("use", "enc")]}), "no key in it can be used"),
        (json!({"keys": [and("alg", "ES256")]}), "no key in it can be used"),
        (json!({"keys": [for_("encrypt")]}), "no key in it can be used"),
        (json!({"keys": [for_("sign")]}), "no key in it can be used"),
        (json!({"keys": [for_("verify")]}), ""),
        // For points of small order anybody makes a signature.
        (json!({"keys": [jwk, and("x", &weak(1))]}), "anybody can sign for it"),
        (json!({"keys": [and("x", &weak(0x80))]}), "anybody can sign for it"),
    ];
    for (set, says) in cases {
        std::fs::write(&place, set.to_string()).unwrap();
        let ran = Command::new(env!("CARGO_BIN_EXE_keyfalld"))
            .args(["--check-config", "--store", "a.db", "--admin-token-file", "token"])
            .args(["--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE, "--jwks"])
            .arg(&place)
            .output()
            .unwrap();
        let said = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.success(), says.is_empty(), "{set}: {said}");
        assert!(said.contains(says) && said.lines().count() <= 1, "{set}: {said}");
    }
}

#[test]
fn one_principal_has_one_limit_with_whichever_token() {
    let dir = tempfile::TempDir::new().unwrap();
    let signer = Signer::new(dir.path(), "ed", Algorithm::EdDSA);
    let config = dir.path().join("keyfall.toml");
    std::fs::write(&config, "requests_per_second = 1\nburst = 2\n").unwrap();
    let service = started(dir.path(), &[&signer], &["--config", config.to_str().unwrap()]);
    let status = |claims: &Value| ask(&service, "/v1/status", &signer.sign(claims));
    let statuses: Vec<u16> = (0..5).map(|n| status(&with("exp", json!(now() + 100 + n)))).collect();
    assert!(statuses.contains(&429), "each is another token: {statuses:?}");
    assert_eq!(status(&with("sub", json!("desk 8"))), 200);
}

/// Whoever was issued a token with the name of a principal was taken for that principal.
#[test]
fn a_token_s_principal_is_another_than_a_credential_s_of_the_same_name() {
    let dir = tempfile::TempDir::new().unwrap();
    let signer = Signer::new(dir.path(), "ed", Algorithm::EdDSA);
    let service = started(dir.path(), &[&signer], &[]);
    let ada = service.user("ada");
    let own = service
        .credential("{\"principal\":\"desk 7\",\"scopes\":[\"put\",\"erase\"],\"users\":\"any\"}");
    let token = signer.sign(&with("scope", json!("put erase")));
    let key = "0b5f7a52-9d0c-4b39-9da1-000000000001";
    let put = |token: &str| {
        let put = service.ask("POST", &format!("/v1/users/{ada}/records"));
        let put = put.header("Authorization", &format!("Bearer {token}"));
        put.header("Keyfall-Class", "audio").header("Idempotency-Key", key).body(b"RIFF....")
    };
    let (one, other) = (put(&own), put(&token));
    assert_eq!((one.status, other.status), (201, 201), "{}", other.text());
    assert_ne!(one.json()["id"], other.json()["id"], "it is another's answer");
    // Whichever token of the issuer's.
    let later = signer.sign(&{
        let mut claims = with("scope", json!("put"));
        claims["exp"] = json!(now() + 700);
        claims
    });
    assert_eq!(put(&later).json()["id"], other.json()["id"]);
    let plan = |token: &str, key: &str| {
        let asked = service.ask("POST", "/v1/erasures");
        let asked = asked.header("Authorization", &format!("Bearer {token}"));
        let json =
            json!({"scope": {"user": ada, "class": "note"}, "in": "1s", "certificate": true});
        asked.header("Idempotency-Key", key).json(&json.to_string())
    };
    let planned = plan(&own, "0b5f7a52-9d0c-4b39-9da1-000000000002");
    assert_eq!(planned.status, 202, "{}", planned.text());
    let at = planned.header("location").unwrap().to_owned();
    let asked = |token: &str| {
        let asked = service.ask("GET", &at).header("Authorization", &format!("Bearer {token}"));
        asked.header("Idempotency-Key", "0b5f7a52-9d0c-4b39-9da1-000000000002").send()
    };
    wait_for("it is done", || {
        let asked = asked(&own);
        asked.status == 200 && asked.json()["certificate"].is_string()
    });
    let others = asked(&token);
    assert!(others.status == 404 || !others.json()["certificate"].is_string());
}

/// The erase that a user asked for took their name out of the store, and with it what their token
/// was for: the same request was answered by 403, and the certificate was lost.
#[test]
fn a_user_s_own_token_gets_the_certificate_of_its_erase_again_and_nothing_else() {
    let dir = tempfile::TempDir::new().unwrap();
    let signer = Signer::new(dir.path(), "ed", Algorithm::EdDSA);
    let service = started(dir.path(), &[&signer], &[]);
    let ada = service.user("ada");
    let id = service.put(&ada, "audio", b"RIFF....");
    let mut own = with("keyfall_users", json!("own"));
    own["sub"] = json!("ada");
    own["scope"] = json!("read report erase");
    let token = format!("Bearer {}", signer.sign(&own));
    let erase = |handle: &str, key: &str| {
        let json =
            json!({"scope": {"user": handle}, "authority": "ada herself", "certificate": true});
        let request = service.ask("POST", "/v1/erasures").header("Authorization", &token);
        request.header("Idempotency-Key", key).json(&json.to_string())
    };
    let key = "0b5f7a52-9d0c-4b39-9da0-000000000001";
    let first = erase(&ada, key);
    assert_eq!(first.status, 200, "{}", first.text());
    let again = erase(&ada, key);
    assert_eq!((again.status, again.json()), (200, first.json()), "{}", again.text());
    assert_eq!(erase(&ada, "0b5f7a52-9d0c-4b39-9da0-000000000002").status, 403);
    let ben = service.user("ben");
    assert_eq!(erase(&ben, key).status, 422, "another request");
    for path in [format!("/v1/users/{ada}"), format!("/v1/records/{id}"), "/v1/status".to_owned()] {
        assert_eq!(ask(&service, &path, &signer.sign(&own)), 403, "{path}");
    }
}

/// The library that puts another clock below a program, where it is installed.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

#[test]
fn a_token_that_expired_stays_so_when_the_clock_is_set_back() {
    if !Path::new(FAKETIME).exists() {
        return absent("libfaketime");
    }
    let dir = tempfile::TempDir::new().unwrap();
    let signer = Signer::new(dir.path(), "ed", Algorithm::EdDSA);
    let service = started(dir.path(), &[&signer], &[]);
    let mut old = with("exp", json!(now() - 600));
    old["nbf"] = json!(now() - 1200);
    let (old, whole) = (signer.sign(&old), signer.sign(&claims()));
    assert_eq!(
        [ask(&service, "/v1/status", &old), ask(&service, "/v1/status", &whole)],
        [401, 200]
    );
    // The store knows that this time has come.
    let ada = service.user("ada");
    service.put(&ada, "audio", b"RIFF....");
    drop(service);
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyfalld"));
    command.env("LD_PRELOAD", FAKETIME).env("FAKETIME", "-15m");
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command.args(["--jwks", dir.path().join("jwks.json").to_str().unwrap()]);
    command.args(["--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE]);
    let service = Service::run(command, dir.path(), &[]);
    assert_eq!(
        [ask(&service, "/v1/status", &old), ask(&service, "/v1/status", &whole)],
        [401, 200]
    );
}

#[test]
fn a_user_s_own_token_from_before_an_erase_is_not_of_the_next_life() {
    let dir = tempfile::TempDir::new().unwrap();
    let signer = Signer::new(dir.path(), "ed", Algorithm::EdDSA);
    let service = started(dir.path(), &[&signer], &[]);
    let own = |issued: i64| {
        let mut claims = with("keyfall_users", json!("own"));
        claims["sub"] = json!("ada");
        claims["scope"] = json!("report");
        (claims["iat"], claims["nbf"]) = (json!(issued), json!(issued));
        signer.sign(&claims)
    };
    let (before, handle) = (own(now() - 60), service.user("ada"));
    // A first life may begin after its token was issued.
    assert_eq!(ask(&service, &format!("/v1/users/{handle}"), &before), 200);
    let erase = format!("{{\"scope\":{{\"user\":\"{handle}\"}}}}");
    assert_eq!(service.admin("POST", "/v1/erasures").json(&erase).status, 200);
    let path = format!("/v1/users/{}", service.user("ada"));
    assert_eq!(ask(&service, &path, &before), 403);
    assert_eq!(ask(&service, &path, &own(now())), 200);
}

/// It went on for ten minutes after the token that made it was refused.
#[test]
fn an_opening_lasts_no_longer_than_the_token_that_made_it() {
    let dir = tempfile::TempDir::new().unwrap();
    let signer = Signer::new(dir.path(), "ed", Algorithm::EdDSA);
    let service = started(dir.path(), &[&signer], &[]);
    let ada = service.user("ada");
    let path = format!("/v1/records/{}/openings", service.put(&ada, "audio", b"RIFF...."));
    let open = |ends: i64| {
        let mut claims = with("exp", json!(now() + ends));
        claims["nbf"] = json!(now() - 100);
        let bearer = format!("Bearer {}", signer.sign(&claims));
        let opened = service.ask("POST", &path).header("Authorization", &bearer).json("{}");
        assert_eq!(opened.status, 201, "{}", opened.text());
        opened.json()
    };
    // Clocks may differ by half a minute.
    let seconds = open(300)["seconds"].as_u64().unwrap();
    assert!((200..=330).contains(&seconds), "{seconds}");
    assert_eq!(open(3600)["seconds"], 600);
    let soon = open(-26)["opening"].as_str().unwrap().to_owned();
    wait_for("it is over", || service.ask("GET", &soon).send().status == 404);
}
