//! Tokens of an issuer: JSON Web Tokens (RFC 7519), checked as RFC 8725 asks.
//!
//! The keys are in a file. Each is for one algorithm, by what it is: Ed25519 for EdDSA, P-256 for
//! ES256, RSA for RS256. A token's header says which key, and never how it is checked or where
//! another key lies.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use keyfall::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::credential::{Any, Credential, Proof, Users, is_scope};
use crate::config::Config;
use crate::renewed::{Contents, Renewed};

/// Longest token.
const LONGEST: usize = 8 << 10;
/// By so many seconds the clock of an issuer may be off.
const LEEWAY: f64 = 30.0;
/// Fewest bytes of an RSA modulus: 2,048 bits.
const RSA_LEAST: usize = 256;

/// What takes the tokens of an issuer.
pub(crate) struct Jwt {
    keys: Arc<Renewed<Keys>>,
    issuer: String,
    audience: String,
}

/// The keys of an issuer, by their ids.
pub(crate) struct Keys {
    by_id: HashMap<String, Key>,
}

struct Key {
    algorithm: Algorithm,
    key: DecodingKey,
}

/// What a token says of its bearer.
pub(crate) struct Issued {
    /// Who acts.
    pub(crate) principal: String,
    /// With whose records.
    pub(crate) users: Reach,
    /// The credential of the bearer, but for its users.
    pub(crate) credential: Credential,
    /// When the token was issued at the latest, with what the clock of its issuer may be off.
    pub(crate) issued: Timestamp,
}

/// With whose records the bearer of a token may act.
pub(crate) enum Reach {
    /// Those of the user who has the principal's name.
    Own,
    /// Those of all users, or of some.
    Users(Users),
}

/// The claims that are read. Those of RFC 7519 are checked before.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: f64,
    nbf: f64,
    #[serde(default)]
    iat: Option<f64>,
    /// RFC 8693, section 4.2: scopes with spaces between.
    #[serde(default)]
    scope: String,
    keyfall_users: ClaimedUsers,
    #[serde(default)]
    keyfall_purposes: Vec<String>,
    #[serde(default)]
    keyfall_default_purpose: Option<String>,
    #[serde(default)]
    keyfall_max_record_bytes: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ClaimedUsers {
    Word(Word),
    List(Vec<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Any,
    Own,
}

impl Jwt {
    /// The tokens that the configuration says are taken, if it does.
    ///
    /// # Errors
    /// What is wrong with the file of keys, and what to do about it.
    pub(crate) fn open(config: &Config) -> io::Result<Option<Self>> {
        let (Some(place), Some(issuer), Some(audience)) =
            (&config.jwks, &config.jwt_issuer, &config.jwt_audience)
        else {
            return Ok(None);
        };
        let named = place.display().to_string();
        let make = move |contents: &Contents| {
            keys(&contents[0]).map_err(|wrong| format!("{named}: {wrong}"))
        };
        let keys = Arc::new(Renewed::open(vec![place.clone()], make)?);
        Ok(Some(Jwt { keys, issuer: issuer.clone(), audience: audience.clone() }))
    }

    /// The file of keys, to be looked at again.
    pub(crate) fn files(&self) -> Arc<Renewed<Keys>> {
        Arc::clone(&self.keys)
    }

    /// What a token says, if it is the issuer's, for this service, and in force at a time.
    pub(crate) fn read(&self, token: &str, now: Timestamp) -> Option<Issued> {
        match self.claims(token).and_then(|claims| in_force(claims, now)) {
            Ok(claims) => issued(claims),
            Err(why) => {
                tracing::debug!(why, "a token was refused");
                None
            }
        }
    }

    fn claims(&self, token: &str) -> Result<Claims, &'static str> {
        if token.len() > LONGEST {
            return Err("too long");
        }
        let header = decode_header(token).map_err(|_| "its header is not one of a signed token")?;
        let keys = self.keys.now();
        let key = sound(&header).and_then(|kid| keys.by_id.get(kid)).ok_or("no key has its kid")?;
        if header.alg != key.algorithm {
            return Err("its key is for another algorithm");
        }
        let mut validation = Validation::new(key.algorithm);
        // By a clock that does not go back, when they are read.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        decode(token, &key.key, &validation).map(|data| data.claims).map_err(|e| match e.kind() {
            ErrorKind::InvalidIssuer => "another issuer's",
            ErrorKind::InvalidAudience => "for another audience",
            ErrorKind::InvalidSignature => "its signature is wrong",
            ErrorKind::MissingRequiredClaim(_) => "exp, nbf, aud, iss or sub is missing",
            _ => "its claims are not as they must be",
        })
    }
}

/// The claims of a token that is in force at a time.
fn in_force(claims: Claims, now: Timestamp) -> Result<Claims, &'static str> {
    let now = now.as_millis() as f64 / 1e3;
    let times = [claims.exp, claims.nbf, claims.iat.unwrap_or_default()];
    if !times.iter().all(|at| at.is_finite() && *at >= 0.0) {
        return Err("its times are none");
    }
    if claims.exp < now - LEEWAY {
        return Err("it has expired");
    }
    if claims.nbf > now + LEEWAY {
        return Err("it is not valid yet");
    }
    Ok(claims)
}

/// The id of the key that a header names, if nothing else in it changes what the token means.
fn sound(header: &Header) -> Option<&str> {
    let typed = |typ: &String| {
        let typ = typ.to_ascii_lowercase();
        ["jwt", "at+jwt", "application/at+jwt"].contains(&typ.as_str())
    };
    let plain = header.crit.is_none() && header.enc.is_none() && header.zip.is_none();
    let plain = plain && header.cty.is_none() && header.typ.as_ref().is_none_or(typed);
    header.kid.as_deref().filter(|_| plain)
}

/// The bearer of a token with these claims; `None` if they make no credential.
fn issued(claims: Claims) -> Option<Issued> {
    let users = match claims.keyfall_users {
        ClaimedUsers::Word(Word::Any) => Reach::Users(Users::Any(Any::Any)),
        ClaimedUsers::Word(Word::Own) => Reach::Own,
        ClaimedUsers::List(list) => Reach::Users(Users::List(list)),
    };
    // One principal has one limit, with whichever token it comes.
    let id = Sha256::digest(format!("{}\0{}", claims.iss, claims.sub));
    let who = format!("\n{}", data_encoding::BASE32_DNSSEC.encode(&id));
    let scopes = claims.scope.split(' ').filter(|it| is_scope(it)).map(str::to_owned);
    let credential = Credential {
        id: format!("j_{}", data_encoding::BASE32_DNSSEC.encode(&id[..10])),
        principal: claims.sub.clone(),
        scopes: scopes.collect(),
        users: match &users {
            Reach::Own => Users::List(Vec::new()),
            Reach::Users(users) => users.clone(),
        },
        purposes: claims.keyfall_purposes,
        default_purpose: claims.keyfall_default_purpose,
        until: None,
        over: false,
        max_record_bytes: claims.keyfall_max_record_bytes,
        proof: Proof::Issued { who, ends: Timestamp(((claims.exp + LEEWAY) * 1e3) as u64) },
    };
    if credential.fault().is_some() {
        tracing::debug!("a token was refused: its claims make no credential");
        return None;
    }
    let at = claims.iat.unwrap_or(claims.nbf) + LEEWAY;
    let issued = Timestamp((at * 1e3) as u64);
    Some(Issued { principal: claims.sub, users, credential, issued })
}

/// The keys of a JWK set (RFC 7517). A key for something else is passed over.
fn keys(text: &[u8]) -> Result<Keys, String> {
    let not_a_set = |_| "this is no JWK set; give {\"keys\": [...]}, as RFC 7517 has it".to_owned();
    let set: Value = serde_json::from_slice(text).map_err(not_a_set)?;
    let listed = set["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let secret = |key: &Value| key["kty"] == "oct" || key.get("d").is_some();
    if listed.iter().any(secret) {
        return Err("it has a secret key, and whoever reads it can sign; give the public halves, \
                    and make other keys in place of those"
            .to_owned());
    }
    let (mut by_id, mut seen) = (HashMap::new(), HashSet::new());
    for value in listed {
        let Some((id, key)) = key(value)? else { continue };
        if !seen.insert(id.clone()) {
            return Err("two keys have the same kid; give each its own".to_owned());
        }
        by_id.insert(id, key);
    }
    if by_id.is_empty() {
        return Err(
            "no key in it can be used; give one with a kid, of Ed25519, P-256 or RSA with \
                    2,048 bits or more, for signatures"
                .to_owned(),
        );
    }
    Ok(Keys { by_id })
}

/// A key with its id; `None` if it is for something else.
fn key(value: &Value) -> Result<Option<(String, Key)>, String> {
    let Ok(jwk) = serde_json::from_value::<Jwk>(value.clone()) else { return Ok(None) };
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            if is_weak(&key.x) {
                return Err(
                    "a key in it is no key: anybody can sign for it; give the issuer's own"
                        .to_owned(),
                );
            }
            Algorithm::EdDSA
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::RSA(key) => {
            let modulus = data_encoding::BASE64URL_NOPAD.decode(key.n.as_bytes());
            if modulus.map_or(true, |n| n.iter().skip_while(|b| **b == 0).count() < RSA_LEAST) {
                return Ok(None);
            }
            Algorithm::RS256
        }
        _ => return Ok(None),
    };
    let common = &jwk.common;
    let signs = common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
    // RFC 7517, 4.3: what a key is for, where it says so.
    let verifies = |all: &Vec<KeyOperations>| all.contains(&KeyOperations::Verify);
    let signs = signs && common.key_operations.as_ref().is_none_or(verifies);
    let its = common.key_algorithm.is_none_or(|it| it == KeyAlgorithm::from(algorithm));
    let (Some(id), true, true) = (&common.key_id, signs, its) else { return Ok(None) };
    let key = DecodingKey::from_jwk(&jwk)
        .map_err(|_| "a key in it cannot be read; give it as RFC 7518 has it".to_owned())?;
    Ok(Some((id.clone(), Key { algorithm, key })))
}

/// The y coordinates of the points of small order of Ed25519, also as they may be written
/// otherwise (p and p + 1). A signature by such a key is made without any secret.
const SMALL: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// Whether a key of Ed25519 is a point of small order.
fn is_weak(key: &str) -> bool {
    let Ok(mut bytes) = data_encoding::BASE64URL_NOPAD.decode(key.as_bytes()) else {
        return false;
    };
    // The sign of x.
    if let Some(last) = bytes.last_mut() {
        *last &= 0x7f;
    }
    SMALL.contains(&data_encoding::HEXLOWER.encode(&bytes).as_str())
}
