//! Places as URLs, and what the environment adds to them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::port::{Failure, Result};

/// The schemes of places.
pub const SCHEMES: [&str; 2] = ["postgres", "postgresql"];

/// The store of a database that a URL names none of.
const STORE: &str = "keyfall";
/// How long one statement may take, and how long standbys are waited for.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After so long without traffic the system asks whether the other side is there.
const IDLE: Duration = Duration::from_secs(30);
/// Where Debian's servers listen.
const SOCKETS: &str = "/var/run/postgresql";
/// Options of a URL that are of this adapter.
const OWN: [&str; 7] =
    ["store", "durable", "accept", "timeout", "sslmode", "sslrootcert", "prepared"];

/// When a commit counts as durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// On the disk of the server.
    Local,
    /// On the disks of so many synchronous standbys as well: asked of the server, commit by commit.
    Standby(u32),
    /// When the server says so: what stands below it is the operator's word.
    Managed,
}

impl Durable {
    fn of(text: &str) -> Option<Self> {
        let k = || text.strip_prefix("standby(")?.strip_suffix(')')?.parse().ok();
        match text {
            "local" => Some(Durable::Local),
            "managed" => Some(Durable::Managed),
            "standby" => Some(Durable::Standby(1)),
            _ => k().filter(|k| *k > 0).map(Durable::Standby),
        }
    }
}

/// A place.
pub(super) struct Place {
    /// As it was given; no password is in it.
    pub(super) url: String,
    pub(super) config: Config,
    /// Whose certificates are believed; `None` for a connection without TLS.
    pub(super) roots: Option<Roots>,
    /// The value of the column `store`.
    pub(super) store: String,
    pub(super) durable: Durable,
    /// Whether the URL says when a commit is durable.
    pub(super) durable_is_said: bool,
    /// The server that is accepted though the store knows another one.
    pub(super) accept: Option<String>,
    pub(super) timeout: Duration,
    /// Whether statements are prepared: a pooler between has to know of that.
    pub(super) prepared: bool,
}

/// Certificate authorities.
pub(super) enum Roots {
    System,
    File(PathBuf),
}

/// The options of a URL that are of this adapter.
#[derive(Default)]
struct Own {
    values: [Option<String>; OWN.len()],
}

impl Own {
    fn take(&mut self, name: &str) -> Option<String> {
        let n = OWN.iter().position(|own| *own == name)?;
        self.values[n].take()
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether a text that may be a URL holds a password, by the widest reading.
fn has_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let before = rest.rsplit_once('@').is_some_and(|(before, _)| before.contains(':'));
    before || rest.contains("password=")
}

pub(super) fn parse(url: &str) -> Result<Place> {
    if has_password(url) {
        return Err(Failure::refused(
            "postgres://: a password in a URL is shown to everybody who sees the URL; name it in \
             PGPASSWORD",
        ));
    }
    // `postgres://` alone is a place: the environment says which.
    let url = Some(url.trim_end_matches('/')).filter(|url| !url.ends_with(':')).unwrap_or(url);
    let refused = |why: String| Failure::refused(format!("{url}: {why}"));
    let (base, options) = url.split_once('?').unwrap_or((url, ""));
    if options.contains('#') || base.contains('#') {
        return Err(refused("a place has no `#`".into()));
    }
    let mut own = Own::default();
    let mut others = Vec::new();
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match OWN.iter().position(|own| *own == name) {
            Some(n) => own.values[n] = Some(value.to_owned()),
            None => others.push(option),
        }
    }
    let mut parsed = with_port(base);
    if !others.is_empty() {
        parsed = format!("{parsed}?{}", others.join("&"));
    }
    let config = parsed.parse::<Config>().map_err(|e| refused(e.to_string()))?;
    place(url, config, own).map_err(refused)
}

/// The base of a URL with the port that the environment names, where it names none.
fn with_port(base: &str) -> String {
    let (scheme, rest) = base.split_once("://").unwrap_or(("postgres", base));
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(a, path)| (a, Some(path)));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let is_one = !host.is_empty() && !host.contains(',');
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let port = variable("PGPORT").filter(|_| is_one && !has_port);
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    let path = path.map_or_else(String::new, |path| format!("/{path}"));
    format!("{scheme}://{authority}{port}{path}")
}

fn place(url: &str, config: Config, mut own: Own) -> std::result::Result<Place, String> {
    let config = completed(config)?;
    let said = own.take("durable");
    let durable = said.as_deref().map_or(Some(Durable::Local), Durable::of).ok_or(
        "`durable` is `local`, `standby(K)` with K standbys that must have a commit, or `managed`",
    )?;
    let accept = own.take("accept").filter(|accept| !accept.is_empty());
    if accept.as_deref() == Some("any") && durable == Durable::Local {
        return Err("`accept=any` takes every promoted standby for complete, which an \
                    asynchronous one is not; say `durable=standby(K)`, or name the server"
            .into());
    }
    let timeout = match own.take("timeout") {
        Some(seconds) => Duration::from_secs(
            seconds.parse().ok().filter(|s| *s > 0).ok_or("`timeout` is a number of seconds")?,
        ),
        None => TIMEOUT,
    };
    let prepared = match own.take("prepared").as_deref() {
        None | Some("off") => false,
        Some("on") => true,
        Some(_) => return Err("`prepared` is `on` or `off`".into()),
    };
    let store = own.take("store").unwrap_or_else(|| STORE.to_owned());
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if store.is_empty() || !store.chars().all(plain) {
        return Err("`store` is a name of A-Z a-z 0-9 . _ - /".into());
    }
    let mode = own.take("sslmode").or_else(|| variable("PGSSLMODE"));
    let roots = own.take("sslrootcert").or_else(|| variable("PGSSLROOTCERT"));
    let roots = match is_encrypted(mode.as_deref(), &config)? {
        false => None,
        true => Some(match roots.as_deref() {
            None | Some("system") => Roots::System,
            Some(file) => Roots::File(PathBuf::from(file)),
        }),
    };
    let mut config = config;
    config
        .ssl_mode(if roots.is_some() { SslMode::Require } else { SslMode::Disable })
        .tcp_user_timeout(timeout);
    Ok(Place {
        url: url.to_owned(),
        config,
        roots,
        store,
        durable,
        durable_is_said: said.is_some(),
        accept,
        timeout,
        prepared,
    })
}

/// With user, host, database and password from the environment, where the URL has none.
fn completed(mut config: Config) -> std::result::Result<Config, String> {
    if config.get_hosts().is_empty() {
        let sockets = || Path::new(SOCKETS).is_dir().then(|| SOCKETS.to_owned());
        config.host(variable("PGHOST").or_else(sockets).unwrap_or_else(|| "localhost".into()));
        if let Some(port) = variable("PGPORT").filter(|_| config.get_ports().is_empty()) {
            config.port(port.parse().map_err(|_| "PGPORT is no port".to_owned())?);
        }
    }
    if let Some(user) = variable("PGUSER").filter(|_| config.get_user().is_none()) {
        config.user(user);
    }
    if let Some(name) = variable("PGDATABASE").filter(|_| config.get_dbname().is_none()) {
        config.dbname(name);
    }
    if let Some(password) = variable("PGPASSWORD") {
        config.password(password);
    }
    if config.get_application_name().is_none() {
        config.application_name("keyfall");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    config.keepalives_idle(IDLE);
    Ok(config)
}

/// Whether a connection is encrypted, and then its certificate checked: always, but over a socket
/// of this machine, or where it is said.
fn is_encrypted(mode: Option<&str>, config: &Config) -> std::result::Result<bool, String> {
    let is_socket = |host: &Host| matches!(host, Host::Unix(_));
    let is_here = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => ["localhost", "127.0.0.1", "::1"].contains(&name.as_str()),
    };
    if config.get_hosts().iter().all(is_socket) {
        return Ok(false);
    }
    match mode {
        Some("disable") => Ok(false),
        None => Ok(!config.get_hosts().iter().all(is_here)),
        Some("require" | "verify-ca" | "verify-full") => Ok(true),
        Some(other) => Err(format!(
            "sslmode {other:?} lets anybody on the way read what is sent; say `verify-full` or \
             `disable`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        match parse(url) {
            Err(e) => e.message,
            Ok(_) => panic!("{url}"),
        }
    }

    #[test]
    fn a_password_is_refused_and_not_shown() {
        for url in [
            "postgres://ada:secret@host/db",
            "postgres://ada:se/secret@host/db",
            "postgres://host/db?password=secret",
            "postgres://ada:x?secret@y@host/db",
        ] {
            let text = refused(url);
            assert!(text.contains("PGPASSWORD") && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn options_are_read() {
        let place = parse("postgres://ada@host:5433/db?store=a/b&durable=standby(2)&timeout=7")
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(place.durable, Durable::Standby(2));
        assert_eq!((place.store.as_str(), place.timeout.as_secs()), ("a/b", 7));
        assert_eq!(place.config.get_ports(), [5433]);
        assert!(place.roots.is_some(), "another machine is asked over TLS");
        let place = parse("postgresql:///db?host=/run/there").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((place.durable, place.store.as_str()), (Durable::Local, STORE));
        assert!(place.roots.is_none());
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (url, says) in [
            ("postgres://host/db?durable=maybe", "standby(K)"),
            ("postgres://host/db?durable=standby(0)", "standby(K)"),
            ("postgres://host/db?accept=any", "asynchronous"),
            ("postgres://host/db?sslmode=prefer", "verify-full"),
            ("postgres://host/db?timeout=0", "seconds"),
            ("postgres://host/db?prepared=yes", "`on` or `off`"),
            ("postgres://host/db?store=a b", "store"),
            ("postgres://host/db?colour=red", "colour"),
        ] {
            let text = refused(url);
            assert!(text.contains(says), "{url}: {text}");
        }
    }
}
