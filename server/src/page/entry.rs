//! Before somebody is let in: a form of this page's own, pressed in the browser that asked for it.
//!
//! A link alone signs nobody in. Another site could have a browser send the form of a link to its
//! author's own page, and what the person then did would be done there. So the form bears what is
//! made of a cookie that this browser alone has, and that no other site has it send.

use std::io;

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::desk::LINK_LASTS;
use crate::private::random;

/// Over TLS the cookies have names that browsers take from their own host alone.
const SECURE: &str = "__Host-keyfall-enter";
const PLAIN: &str = "keyfall-enter";

/// What a browser has that was shown the form of a link.
pub(super) struct Entry {
    secret: String,
}

impl Entry {
    /// A fresh one.
    ///
    /// # Errors
    /// If the system's generator fails.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Entry { secret: data_encoding::BASE32_DNSSEC.encode(&random::<32>()?) })
    }

    /// The one that a browser sent.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        Some(Entry { secret: cookie(headers, [SECURE, PLAIN])? })
    }

    /// What the form of a link bears.
    pub(super) fn on(&self, link: &str) -> String {
        let mut hash = Sha256::new();
        for part in ["keyfalld/page/enter/v1", &self.secret, link] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        data_encoding::BASE32_DNSSEC.encode(&hash.finalize())
    }

    /// Whether a form is one that this browser was shown of this link.
    pub(super) fn gave(&self, link: &str, form: &str) -> bool {
        bool::from(self.on(link).as_bytes().ct_eq(form.as_bytes()))
    }

    /// The header's value that has the browser keep it for as long as a link lasts.
    pub(super) fn cookie(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        set(headers, &self.secret, LINK_LASTS.as_secs())
    }
}

/// The header's value that has the browser forget it.
pub(super) fn forget(headers: &HeaderMap) -> Option<HeaderValue> {
    set(headers, "", 0)
}

fn set(headers: &HeaderMap, value: &str, age: u64) -> Option<HeaderValue> {
    let (name, secure) = if is_loopback(headers) { (PLAIN, "") } else { (SECURE, "; Secure") };
    let cookie =
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}");
    HeaderValue::from_str(&cookie).ok()
}

/// The value of a cookie that has one name over TLS and another on this machine itself.
pub(super) fn cookie(headers: &HeaderMap, [secure, plain]: [&str; 2]) -> Option<String> {
    let name = if is_loopback(headers) { plain } else { secure };
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(n, _)| *n == name)
        .map(|(_, value)| value.to_owned())
}

/// Whether the browser says that another site had it send this.
pub(super) fn from_elsewhere(headers: &HeaderMap) -> bool {
    let from = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    from.is_some_and(|from| from != b"same-origin" && from != b"none")
}

/// Whether the browser asked this machine itself, where there is no TLS.
pub(crate) fn is_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(axum::http::header::HOST).and_then(|value| value.to_str().ok());
    let host = host.unwrap_or_default();
    let name = if let Some(rest) = host.strip_prefix('[') {
        rest.split(']').next().unwrap_or_default()
    } else {
        host.split(':').next().unwrap_or_default()
    };
    ["localhost", "127.0.0.1", "::1"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_of_one_browser_and_of_one_link() {
        let (entry, other) = (Entry::new().unwrap(), Entry::new().unwrap());
        let form = entry.on("link");
        assert!(entry.gave("link", &form));
        assert!(!entry.gave("another", &form) && !other.gave("link", &form));
        assert!(!entry.gave("link", ""));
        let mut sent = HeaderMap::new();
        for (host, name) in [("localhost:7400", PLAIN), ("voice.example", SECURE)] {
            sent.insert("host", HeaderValue::from_static(host));
            let cookie = entry.cookie(&sent).unwrap();
            let cookie = cookie.to_str().unwrap().to_owned();
            assert!(cookie.starts_with(&format!("{name}=")) && cookie.contains("SameSite=Strict"));
            assert_eq!(cookie.ends_with("; Secure"), name == SECURE);
            let back = HeaderValue::from_str(cookie.split(';').next().unwrap()).unwrap();
            sent.insert("cookie", back);
            assert!(Entry::of(&sent).unwrap().gave("link", &form));
        }
    }
}
