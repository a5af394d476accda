//! A credential: who somebody is, what they may do, with whom, for which purposes and until when.

use std::io;

use keyfall::{Timestamp, UserHandle};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use zeroize::Zeroizing;

use crate::peer::CertificateName;
use crate::private::random;

/// What tokens begin with, so that scanners of source code know one.
const PREFIX: &str = "kf_";

/// What may be done, beside `read:CLASS`.
pub(crate) const SCOPES: &[&str] =
    &["put", "read", "report", "erase", "rules", "inbox", "page", "status", "backup", "admin"];

/// A scope, as the document has it.
pub(crate) struct ScopeName;

impl PartialSchema for ScopeName {
    fn schema() -> RefOr<Schema> {
        let pattern = format!("^({}|read:[a-z][a-z0-9._-]{{0,31}})$", SCOPES.join("|"));
        let says = "What may be done; `read:CLASS` is reading records of one class";
        let text = ObjectBuilder::new().schema_type(Type::String).description(Some(says));
        text.pattern(Some(pattern)).into()
    }
}

impl ToSchema for ScopeName {}

/// A credential, as the book keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Credential {
    /// Its name in addresses.
    pub(crate) id: String,
    /// Who acts; the reports of users name it.
    pub(crate) principal: String,
    /// What may be done.
    pub(crate) scopes: Vec<String>,
    /// With whose records.
    pub(crate) users: Users,
    /// For which purposes; `*` is any.
    pub(crate) purposes: Vec<String>,
    /// The purpose of a request that names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default_purpose: Option<String>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<String>,
    /// That it ended was noted: a clock that is set back does not bring it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) over: bool,
    /// Most bytes of a record that is put with it; the service's limit, if none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_record_bytes: Option<u64>,
    /// How a caller shows that it is theirs.
    #[serde(flatten)]
    pub(crate) proof: Proof,
}

/// What shows that a credential is a caller's.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Proof {
    /// A token of this service.
    Token {
        /// SHA-256 of it, in hexadecimal.
        token: String,
    },
    /// The certificate of the caller's connection.
    Certificate {
        /// What it is known by.
        certificate: CertificateName,
    },
    /// A session of the page, which the book does not have.
    #[serde(skip)]
    Elsewhere,
    /// The token of an issuer, which the book does not have either.
    #[serde(skip)]
    Issued {
        /// Issuer and subject: another principal than one of the book that has the same name.
        who: String,
        /// When the token is in force no more.
        ends: Timestamp,
    },
}

/// With whose records a credential may act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "users is \"any\", or a list of handles")]
pub(crate) enum Users {
    /// Anybody's: `"any"`.
    Any(Any),
    /// Theirs, by their handles.
    List(Vec<String>),
}

/// The word for all users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) enum Any {
    #[serde(rename = "any")]
    Any,
}

impl Users {
    /// What is wrong with it, if anything is.
    fn fault(&self) -> Option<String> {
        let Users::List(list) = self else { return None };
        if list.len() > 1000 {
            return Some("users is \"any\", or a list of at most 1000 handles".to_owned());
        }
        let other = list.iter().find(|one| one.parse::<UserHandle>().is_err())?;
        Some(format!("{other:?} is no handle; `POST /v1/users` gives the one of a name"))
    }

    /// All users.
    pub(crate) const ANY: Users = Users::Any(Any::Any);

    /// The same, each handle as this program writes it.
    pub(crate) fn canonical(self) -> Self {
        match self {
            Users::Any(any) => Users::Any(any),
            Users::List(list) => Users::List(list.into_iter().map(canonical).collect()),
        }
    }

    /// Whether a user is among them.
    pub(crate) fn has(&self, handle: &UserHandle) -> bool {
        match self {
            Users::Any(_) => true,
            Users::List(list) => {
                list.iter().any(|one| one.parse::<UserHandle>().is_ok_and(|one| one == *handle))
            }
        }
    }
}

impl Credential {
    /// The credential of the service's admin: everything, with everybody.
    pub(crate) fn admin(token: &str) -> Self {
        Credential {
            id: "admin".to_owned(),
            principal: "admin".to_owned(),
            scopes: vec!["admin".to_owned()],
            users: Users::ANY,
            purposes: vec!["*".to_owned()],
            default_purpose: None,
            until: None,
            over: false,
            max_record_bytes: None,
            proof: Proof::Token { token: hash(token) },
        }
    }

    /// Whether this is the hash of its token, compared in constant time.
    pub(crate) fn has_hash(&self, hashed: &str) -> bool {
        match &self.proof {
            Proof::Token { token } => bool::from(token.as_bytes().ct_eq(hashed.as_bytes())),
            Proof::Certificate { .. } | Proof::Elsewhere | Proof::Issued { .. } => false,
        }
    }

    /// What its certificate is known by, if it has one.
    pub(crate) fn certificate(&self) -> Option<&CertificateName> {
        match &self.proof {
            Proof::Certificate { certificate } => Some(certificate),
            Proof::Token { .. } | Proof::Elsewhere | Proof::Issued { .. } => None,
        }
    }

    /// What is wrong with it, if something is.
    pub(crate) fn fault(&self) -> Option<String> {
        let short = |text: &str| !text.trim().is_empty() && text.len() <= 255;
        if !short(&self.principal) {
            return Some("a principal has 1 to 255 bytes".to_owned());
        }
        let known = || format!("{}, read:CLASS", SCOPES.join(", "));
        if let Some(other) = self.scopes.iter().find(|it| !is_scope(it)) {
            return Some(format!("{other:?} is no scope; the scopes are {}", known()));
        }
        if self.scopes.is_empty() || self.scopes.len() > 64 {
            return Some(format!("a credential has 1 to 64 scopes, of these: {}", known()));
        }
        self.users.fault().or_else(|| self.fault_of_purposes())
    }

    fn fault_of_purposes(&self) -> Option<String> {
        let short = |text: &str| !text.trim().is_empty() && text.len() <= 255;
        if self.purposes.len() > 64 || !self.purposes.iter().all(|purpose| short(purpose)) {
            return Some("a credential has at most 64 purposes, of 1 to 255 bytes".to_owned());
        }
        match &self.default_purpose {
            Some(purpose) if !self.purposes.contains(purpose) => {
                Some("the default purpose must be one of the purposes".to_owned())
            }
            _ => None,
        }
    }

    /// Whether it ended.
    pub(crate) fn ended(&self, now: Timestamp) -> bool {
        let until = self.until.as_deref().map(str::parse::<Timestamp>);
        // One that cannot be read ended.
        self.over || until.is_some_and(|until| until.map_or(true, |until| until <= now))
    }

    /// Whether it allows an act: `put`, `read:audio`, `erase` and so on.
    pub(crate) fn allows(&self, act: &str) -> bool {
        let whole = act.split_once(':').map_or(act, |(whole, _)| whole);
        self.scopes.iter().any(|scope| scope == act || scope == whole || scope == "admin")
    }

    /// Whether it allows reading at all.
    pub(crate) fn reads(&self) -> bool {
        let reads = |scope: &String| scope.starts_with("read") || scope == "admin";
        self.scopes.iter().any(reads)
    }

    /// Whether it allows a purpose.
    pub(crate) fn serves(&self, purpose: &str) -> bool {
        self.purposes.iter().any(|one| one == purpose || one == "*")
    }
}

/// A handle as this program writes it; what is none stays as it is.
fn canonical(handle: String) -> String {
    match handle.parse::<UserHandle>() {
        Ok(parsed) => parsed.to_string(),
        Err(_) => handle,
    }
}

/// Whether a text is a scope.
pub(crate) fn is_scope(scope: &str) -> bool {
    match scope.strip_prefix("read:") {
        Some(class) => keyfall::Class::new(class).is_ok(),
        None => SCOPES.contains(&scope),
    }
}

/// A fresh token.
///
/// # Errors
/// If the system's generator fails.
pub(crate) fn fresh_token() -> io::Result<Zeroizing<String>> {
    let bytes = Zeroizing::new(random::<32>()?);
    let encoded = Zeroizing::new(data_encoding::BASE32_DNSSEC.encode(&*bytes));
    Ok(Zeroizing::new(format!("{PREFIX}{}", *encoded)))
}

/// What is kept of a token.
pub(crate) fn hash(token: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(token.as_bytes()))
}
