//! A credential: who somebody is, what they may do, with whom, for which purposes and until when.

use std::io;

use keyfall::{Timestamp, UserHandle};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::private::random;

/// What tokens begin with, so that scanners of source code know one.
const PREFIX: &str = "kf_";

/// What may be done, beside `read:CLASS`.
pub(crate) const SCOPES: &[&str] =
    &["put", "read", "report", "erase", "rules", "inbox", "page", "status", "admin"];

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
    /// SHA-256 of its token, in hexadecimal.
    pub(crate) token: String,
}

/// With whose records a credential may act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Users {
    /// Anybody's: `"any"`.
    Any(Any),
    /// Theirs, by their handles.
    List(Vec<String>),
}

/// The word for all users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Any {
    #[serde(rename = "any")]
    Any,
}

impl Users {
    /// All users.
    pub(crate) const ANY: Users = Users::Any(Any::Any);

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
            token: hash(token),
        }
    }

    /// Whether it ended.
    pub(crate) fn ended(&self, now: Timestamp) -> bool {
        let until = self.until.as_deref().map(str::parse::<Timestamp>);
        // One that cannot be read ended.
        until.is_some_and(|until| until.map_or(true, |until| until <= now))
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
