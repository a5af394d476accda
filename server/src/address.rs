//! Where a request comes from: the address of its connection, or what a proxy that is trusted says.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Where a request comes from; nothing where that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address(pub(crate) Option<IpAddr>);

/// Addresses of proxies: `10.0.0.0/8, ::1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Networks(Vec<Network>);

/// Addresses that have so many first bits in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    first: IpAddr,
    bits: u32,
}

/// The header in which the proxies say for whom they ask. One alone: a client's own words stand in
/// the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProxyHeader {
    /// Addresses, with commas between.
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

impl Address {
    /// One host has many addresses of IPv6: they count as one.
    pub(crate) fn of(address: Option<IpAddr>) -> Address {
        Address(address.map(|address| match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            v4 @ IpAddr::V4(_) => v4,
        }))
    }

    /// Where a request comes from: the connection's address, and as long as that is a proxy that is
    /// trusted, whom it names: the last of the names, for those before it may be the client's own.
    pub(crate) fn of_request(
        request: &Request,
        proxies: Option<&Networks>,
        header: ProxyHeader,
    ) -> Address {
        let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let Some(mut at) = info.map(|info| info.0.ip()) else { return Address(None) };
        let trusted = |at: IpAddr| proxies.is_some_and(|proxies| proxies.has(at));
        let mut named = header.named(request.headers());
        while trusted(at) {
            // Where it names nobody it stands for itself.
            let Some(Some(before)) = named.pop() else { break };
            at = before;
        }
        Address::of(Some(at))
    }
}

impl<S: Sync> FromRequestParts<S> for Address {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Address>().copied().unwrap_or(Address(None)))
    }
}

impl ProxyHeader {
    /// Whom the proxies name, in the order in which they did; nothing for what is no address.
    fn named(self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        let name = match self {
            ProxyHeader::XForwardedFor => "x-forwarded-for",
            ProxyHeader::Forwarded => "forwarded",
        };
        let mut named = Vec::new();
        for value in headers.get_all(name) {
            // By commas alone: a quotation mark that a client left open takes in nothing after it.
            let parts = value.as_bytes().split(|byte| *byte == b',');
            named.extend(parts.map(|part| self.address(std::str::from_utf8(part).ok()?)));
        }
        named
    }

    fn address(self, part: &str) -> Option<IpAddr> {
        match self {
            ProxyHeader::XForwardedFor => node(part),
            ProxyHeader::Forwarded => part.split(';').find_map(|pair| {
                let (key, value) = pair.split_once('=')?;
                key.trim().eq_ignore_ascii_case("for").then(|| node(value))?
            }),
        }
    }
}

/// An address with or without a port, and quoted or not.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|it| it.ip());
    bare.parse().ok().or_else(with_port)
}

impl Networks {
    fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.has(address))
    }
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        let ((first, width), (address, of)) = (number(self.first), number(address));
        let differs = (first ^ address).checked_shr(width.saturating_sub(self.bits));
        width == of && differs.unwrap_or(0) == 0
    }
}

/// An address as a number of so many bits.
fn number(address: IpAddr) -> (u128, u32) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address or network; write 10.0.0.1 or 10.0.0.0/8");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let first = address.parse::<IpAddr>().map_err(|_| wrong())?.to_canonical();
        let (number, width) = number(first);
        let bits = bits.unwrap_or(width);
        // What is beyond its bits would be trusted though nobody meant it.
        let beyond = number & !u128::MAX.checked_shl(width.saturating_sub(bits)).unwrap_or(0);
        match bits <= width && beyond == 0 {
            true => Ok(Network { first, bits }),
            false => Err(wrong()),
        }
    }
}

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let networks = text.split(',').map(|one| one.trim().parse());
        networks.collect::<Result<_, _>>().map(Networks)
    }
}

impl TryFrom<String> for Networks {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Networks> for String {
    fn from(networks: Networks) -> String {
        networks.to_string()
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |Network { first, bits }: &Network| match *bits == number(*first).1 {
            true => first.to_string(),
            false => format!("{first}/{bits}"),
        };
        f.write_str(&self.0.iter().map(one).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn networks(text: &str) -> Networks {
        text.parse().unwrap()
    }

    #[test]
    fn networks_are_read_and_nothing_else() {
        let some = networks("10.0.0.0/8,::1 , 2001:db8::/32, 192.0.2.7/32");
        assert_eq!(some.to_string(), "10.0.0.0/8, ::1, 2001:db8::/32, 192.0.2.7");
        for (address, is) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("::ffff:10.0.0.1", true),
            ("::1", true),
            ("::2", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("0.0.0.1", false),
        ] {
            assert_eq!(some.has(address.parse().unwrap()), is, "{address}");
        }
        assert!(networks("0.0.0.0/0").has([203, 0, 113, 9].into()));
        assert!(!networks("0.0.0.0/0").has(Ipv6Addr::LOCALHOST.into()));
        assert!(networks("::/0").has(Ipv6Addr::LOCALHOST.into()));
        for text in ["", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/", "proxy", "::1/0", "1.2.3.4,,"] {
            assert!(text.parse::<Networks>().is_err(), "{text}");
        }
    }

    #[test]
    fn headers_name_addresses_in_many_ways() {
        let named = |header: ProxyHeader, name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            let named = header.named(&headers).into_iter();
            named.map(|it| it.map_or("-".to_owned(), |it| it.to_string())).collect::<Vec<_>>()
        };
        let list = "192.0.2.1, 192.0.2.2:99,[2001:db8::1]:7 , 2001:db8::2,unknown,";
        let read = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "-", "-"];
        assert_eq!(named(ProxyHeader::XForwardedFor, "x-forwarded-for", list), read);
        let list = "for=192.0.2.1;by=_a, FOR=\"[2001:db8::1]\", proto=http;For=\"192.0.2.2:9\",by=x, \
                    for=\"_open, for=192.0.2.3";
        let read = ["192.0.2.1", "2001:db8::1", "192.0.2.2", "-", "-", "192.0.2.3"];
        assert_eq!(named(ProxyHeader::Forwarded, "forwarded", list), read);
    }
}
