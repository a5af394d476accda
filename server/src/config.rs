//! What the service is told: a file, the environment over it, flags over both.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, Parser, ValueEnum};
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use keyfall::opening::{Location, apart, check_place, check_reach, lies_inside, url_of};
use serde::{Deserialize, Serialize};

use crate::address::{Networks, ProxyHeader};
use crate::manual::Manual;
use crate::remedy::{self, typed};
use crate::span::Span;

/// Where the file is unless `--config` names another.
const FILE: &str = "/etc/keyfall/keyfall.toml";

/// What a start asks for.
pub(crate) enum Ask {
    /// To serve.
    Run(Box<Config>),
    /// To look at the configuration and the files that it names, alone.
    Check(Box<Config>),
    /// To write the document that describes the service.
    Document,
    /// To write completions or the man page.
    Manual(Manual),
}

/// Why the service cannot be started as it was told.
pub(crate) type Unusable = Box<dyn std::error::Error>;

/// The configuration, whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The store, a directory or a URL; it is made where there is none.
    pub(crate) store: PathBuf,
    /// Directory of the root cell; beside the store unless it is given, which a URL needs.
    #[serde(default)]
    pub(crate) cell: Option<PathBuf>,
    /// Only this machine ever opens the store at a URL: its cell may be a file.
    #[serde(default)]
    pub(crate) single_machine: bool,
    /// Waits until the writer of the store is gone, and serves then.
    #[serde(default)]
    pub(crate) standby: bool,
    /// How often a sign of life is left for one that stands by.
    #[serde(default)]
    beat: Option<Span>,
    /// After how long without one the writer is taken for gone.
    #[serde(default)]
    gone_after: Option<Span>,
    /// Directory in which this machine keeps what it reads of a store at a URL.
    #[serde(default)]
    pub(crate) object_cache: Option<PathBuf>,
    /// Bytes of that directory, at most.
    #[serde(default = "object_cache_bytes")]
    pub(crate) object_cache_bytes: u64,
    /// Directory of the service's own files; STORE.service unless it is given, of a URL
    /// CELL.service.
    #[serde(default)]
    pub(crate) state: Option<PathBuf>,
    /// Place of the backup that `POST /v1/backups` makes.
    #[serde(default)]
    pub(crate) backup: Option<PathBuf>,
    /// Makes the cell also on a file system that may keep what is overwritten.
    #[serde(default)]
    pub(crate) accept_remnants: bool,
    /// Address and port to listen on.
    #[serde(default = "listen")]
    pub(crate) listen: SocketAddr,
    /// File of the token that may do everything; it is made where there is none.
    pub(crate) admin_token_file: PathBuf,
    /// Address under which browsers reach the service, such as `https://voice.example`.
    #[serde(default)]
    pub(crate) public_url: Option<String>,
    /// The service's certificate and its chain, in PEM.
    #[serde(default)]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM.
    #[serde(default)]
    pub(crate) tls_key: Option<PathBuf>,
    /// A proxy ends TLS before the service: it may listen in plain on any address.
    #[serde(default)]
    pub(crate) tls_by_proxy: bool,
    /// Proxies whose word on a caller's address is believed: addresses and networks, separated by
    /// commas.
    #[serde(default)]
    pub(crate) trusted_proxies: Option<Networks>,
    /// The header in which they give it.
    #[serde(default)]
    pub(crate) proxy_header: ProxyHeader,
    /// Authorities whose client certificates are believed, in PEM.
    #[serde(default)]
    pub(crate) client_ca: Option<PathBuf>,
    /// Lists of client certificates that their authorities revoked, in PEM.
    #[serde(default)]
    pub(crate) client_crl: Option<PathBuf>,
    /// Whether every connection needs a client certificate.
    #[serde(default)]
    pub(crate) client_cert: ClientCert,
    /// Public keys that JSON Web Tokens are signed with (RFC 7517).
    #[serde(default)]
    pub(crate) jwks: Option<PathBuf>,
    /// Who issues the tokens: their claim `iss`.
    #[serde(default)]
    pub(crate) jwt_issuer: Option<String>,
    /// Whom the tokens are for: this is in their claim `aud`.
    #[serde(default)]
    pub(crate) jwt_audience: Option<String>,
    /// What is logged, as `tracing` filters it: `info`, `keyfalld=debug`.
    #[serde(default = "log")]
    pub(crate) log: String,
    /// Logs in JSON.
    #[serde(default)]
    pub(crate) log_json: bool,
    /// Fewest bytes free on the disk of store and cell for the service to be ready.
    #[serde(default = "min_free_bytes")]
    pub(crate) min_free_bytes: u64,
    /// Most bytes of a record.
    #[serde(default = "max_record_bytes")]
    pub(crate) max_record_bytes: u64,
    /// Seconds after which a connection or a body is given up on which nothing moves.
    #[serde(default = "idle_seconds")]
    pub(crate) idle_seconds: NonZeroU32,
    /// Requests a second of one principal, once its burst is used up.
    #[serde(default = "requests_per_second")]
    pub(crate) requests_per_second: u32,
    /// Requests of one principal at once.
    #[serde(default = "burst")]
    pub(crate) burst: u32,
}

/// Whether a connection over TLS needs a client certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientCert {
    /// It may have none.
    #[default]
    Optional,
    /// It is refused without one.
    Required,
}

impl Config {
    /// The directory of the service's own files.
    pub(crate) fn state_dir(&self) -> PathBuf {
        let of = match (url_of(&self.store), &self.cell) {
            // Nothing lies beside a URL.
            (Some(_), Some(cell)) => cell,
            _ => &self.store,
        };
        self.state.clone().unwrap_or_else(|| beside(of, "service"))
    }

    /// How often a sign of life is left. Each service that ever stands by leaves some: after it
    /// served, the next one finds signs, and would take a writer without any for gone.
    pub(crate) fn beat(&self) -> Option<Duration> {
        let every = self.beat.map(|Span(every)| every);
        every.or(self.standby.then_some(BEAT))
    }

    /// After how long without a sign of life the writer is taken for gone.
    pub(crate) fn gone_after(&self) -> Duration {
        self.gone_after.map_or(GONE_AFTER, |Span(time)| time)
    }

    /// For so long a connection or a body may stand still.
    pub(crate) fn idle(&self) -> Duration {
        Duration::from_secs(u64::from(self.idle_seconds.get()))
    }

    /// The directory of the root cell.
    pub(crate) fn cell_dir(&self) -> PathBuf {
        // A file beside the store may name another place.
        let found = Location::find(&self.store, self.cell.as_deref());
        found.map_or_else(|_| beside(&self.store, "cell"), |found| found.cell().to_owned())
    }

    /// Checks what is said of the store, where it is at a URL, and of standing by.
    fn check_store(&self) -> Result<(), Unusable> {
        let url = url_of(&self.store);
        if url.is_some() {
            let Some(cell) = &self.cell else {
                return Err("nothing lies beside a URL: name the root cell with --cell".into());
            };
            let is_shared = cell.join("quorum.json").exists();
            // What is said of a standby helps one; to say that there is one machine does not.
            if is_shared || !self.standby {
                check_reach(&self.store, is_shared, self.single_machine).map_err(typed)?;
            }
        } else if self.store.to_string_lossy().contains("://") {
            let text = "is no place of a store: it is a directory, s3://BUCKET/PREFIX, gs://, \
                        az://, file:///DIRECTORY or postgres://";
            return Err(format!("{} {text}", self.store.display()).into());
        } else if keyfall::realm::is_realm(&self.store) {
            let text = "is a realm, and a service serves one store: open it with the library \
                        (`Realm`), or name another place";
            return Err(format!("{} {text}", self.store.display()).into());
        } else if self.single_machine {
            return Err("single_machine is of a store at a URL: leave it out".into());
        } else if self.object_cache.is_some() {
            return Err("object_cache is of a store at a URL: leave it out".into());
        }
        if url.is_none() && (self.standby || self.beat.is_some()) {
            return Err("a store in a directory has no standby: one process at a time opens it; \
                        a standby waits beside a store on objects or in PostgreSQL"
                .into());
        }
        let shared = self.cell.as_ref().is_some_and(|cell| cell.join("quorum.json").exists());
        if self.standby && !shared {
            return Err(
                "one that stands by needs a root cell that machines share: spread it over \
                        keyholders with `keyfall init --keyholder`"
                    .into(),
            );
        }
        if self.gone_after.is_some() && !self.standby {
            return Err("gone_after is of one that stands by: give --standby too".into());
        }
        if self.standby && self.beat().is_some_and(|beat| self.gone_after() <= beat * 2) {
            return Err("gone_after must be more than twice as long as beat".into());
        }
        Ok(())
    }

    /// What is in force, as a configuration file has it. It names places, and no secret.
    pub(crate) fn in_force(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        let all = value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        all.map(|(name, value)| format!("{name} = {value}\n")).collect()
    }

    /// Nothing of the service's lies in the store or the cell: what copies them would copy it.
    fn check_own(&self) -> Result<(), Unusable> {
        let own = [self.state_dir(), self.admin_token_file.clone()];
        let others = [self.store.clone(), self.cell_dir()];
        for (place, other) in own.iter().flat_map(|own| others.iter().map(move |it| (own, it))) {
            if lies_inside(place, other)? {
                let (place, other) = (place.display(), other.display());
                return Err(format!("{place} lies inside {other}: name another place").into());
            }
        }
        Ok(())
    }

    /// Checks what must be said together.
    fn check(&self) -> Result<(), Unusable> {
        self.check_store()?;
        if self.requests_per_second == 0 || self.burst == 0 {
            return Err(
                "with requests_per_second or burst of 0 nobody could ask anything: give 1 \
                        at least"
                    .into(),
            );
        }
        self.check_own()?;
        if let Some(backup) = &self.backup {
            let copy = ("the backup", backup.as_path());
            apart(&[copy, ("the store", &self.store)])?;
            apart(&[copy, ("the cell", &self.cell_dir())])?;
            apart(&[copy, ("the service's own files", &self.state_dir())])?;
            check_place(backup)?;
        }
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(_), Some(_)) => true,
            (None, None) => false,
            (Some(_), None) => return Err("tls_cert without its key: give --tls-key too".into()),
            (None, Some(_)) => return Err("tls_key without a certificate: give --tls-cert".into()),
        };
        if self.client_ca.is_some() && !tls {
            return Err("client certificates need TLS: give --tls-cert and --tls-key too".into());
        }
        if self.client_crl.is_some() && self.client_ca.is_none() {
            return Err("client_crl without the authorities: give --client-ca too".into());
        }
        if self.client_cert == ClientCert::Required && self.client_ca.is_none() {
            return Err("client_cert is required and nothing says of whom: give --client-ca".into());
        }
        if self.proxy_header != ProxyHeader::default() && self.trusted_proxies.is_none() {
            return Err(
                "proxy_header is of proxies that are trusted: give --trusted-proxies".into()
            );
        }
        if !tls && !self.tls_by_proxy && !self.listen.ip().is_loopback() {
            return Err(format!(
                "{} is reached from elsewhere, and without TLS tokens and records go in the \
                 clear: give --tls-cert and --tls-key, or --tls-by-proxy where a proxy ends TLS",
                self.listen
            )
            .into());
        }
        match (&self.jwks, &self.jwt_issuer, &self.jwt_audience) {
            (Some(_), Some(_), Some(_)) | (None, None, None) => Ok(()),
            _ => Err("tokens of an issuer need its keys, its name and yours: give --jwks, \
                      --jwt-issuer and --jwt-audience together"
                .into()),
        }
    }
}

/// How often one that stood by leaves a sign of life, unless it is told.
const BEAT: Duration = Duration::from_secs(2);
/// As `keyfall standby`.
const GONE_AFTER: Duration = Duration::from_secs(10);

fn listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7400))
}

fn log() -> String {
    "info".to_owned()
}

fn min_free_bytes() -> u64 {
    256 << 20
}

fn object_cache_bytes() -> u64 {
    1 << 30
}

fn max_record_bytes() -> u64 {
    16 << 30
}

fn idle_seconds() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(119)
}

fn requests_per_second() -> u32 {
    20_000
}

fn burst() -> u32 {
    20_000
}

/// The path of a directory beside the store: `assistant.db.service`.
fn beside(store: &Path, ending: &str) -> PathBuf {
    let mut name = store.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    store.with_file_name(name)
}

const EXAMPLES: &str = "\
Examples:
  keyfalld --store assistant.db --admin-token-file admin.token
  keyfalld --store s3://bucket/assistant --cell assistant.cell --single-machine \\
      --admin-token-file admin.token
  keyfalld --store 'postgres:///keyfall' --cell assistant.cell --single-machine \\
      --admin-token-file admin.token

With keyholders on two machines, the second one waits until the first is gone:
  keyfall init s3://bucket/assistant --cell assistant.cell --keyholder ... --threshold 2
  keyfalld --store s3://bucket/assistant --cell assistant.cell --beat 2s ...
  keyfalld --store s3://bucket/assistant --cell assistant.cell --standby ...

Each option can stand in the configuration file (single_machine = true), and in the environment
(KEYFALL_SINGLE_MACHINE=true). Credentials of a store come from its own environment:
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, PGPASSWORD, ...";

/// Keyfall as a service: the engine over HTTP, and the page where people hear and erase what is
/// kept of them.
#[derive(Parser, Serialize)]
#[command(name = "keyfalld", version, args_conflicts_with_subcommands = true)]
#[command(after_help = EXAMPLES)]
struct Flags {
    #[command(subcommand)]
    #[serde(skip)]
    manual: Option<Manual>,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = FILE)]
    #[serde(skip)]
    config: PathBuf,
    /// Read the configuration, write what is in force, or what is wrong with it, and end.
    #[arg(long)]
    #[serde(skip)]
    check_config: bool,
    /// Write the document that describes the service (OpenAPI 3.1), and end.
    #[arg(long)]
    #[serde(skip)]
    openapi: bool,
    /// The store, a directory or a URL (s3://, gs://, az://, file:///, postgres://); it is made
    /// where there is none.
    #[arg(long, value_name = "PLACE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<PathBuf>,
    /// Directory of the root cell [default: STORE.cell]; a store at a URL needs it named.
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    cell: Option<PathBuf>,
    /// For a store at a URL: only this machine ever opens it, so that the cell may be a file here.
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    single_machine: bool,
    /// Wait until the writer of the store is gone, and serve in its place.
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    standby: bool,
    /// Leave a sign of life this often, for one that stands by [default with --standby: 2s].
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    beat: Option<Span>,
    /// Standing by, take the writer for gone after this time without a commit or a sign of life
    /// [default: 10s].
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    gone_after: Option<Span>,
    /// For a store at a URL: keep what is read of it in this directory of this machine, so that the
    /// next start reads it there.
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    object_cache: Option<PathBuf>,
    /// Most bytes of that directory [default: 1073741824].
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    object_cache_bytes: Option<u64>,
    /// Directory of the service's own files [default: STORE.service; of a URL CELL.service].
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<PathBuf>,
    /// Place of the backup that `POST /v1/backups` makes: a directory of its own, or a URL.
    #[arg(long, value_name = "PLACE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<PathBuf>,
    /// Make the cell also on a file system that may keep what is overwritten.
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    accept_remnants: bool,
    /// Address and port to listen on [default: 127.0.0.1:7400]; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    /// File of the token that may do everything; it is made where there is none.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_token_file: Option<PathBuf>,
    /// Address under which browsers reach the service, such as https://voice.example.
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    public_url: Option<String>,
    /// The service's certificate and its chain, in PEM; it speaks TLS then.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate, in PEM.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_key: Option<PathBuf>,
    /// A proxy ends TLS before the service: listen in plain on any address.
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls_by_proxy: bool,
    /// Proxies whose word on a caller's address is believed: addresses and networks, separated by
    /// commas.
    #[arg(long, value_name = "ADDRESSES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    trusted_proxies: Option<Networks>,
    /// The header in which they give it [default: x-forwarded-for].
    #[arg(long, value_name = "HEADER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_header: Option<ProxyHeader>,
    /// Authorities whose client certificates are believed, in PEM.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ca: Option<PathBuf>,
    /// Lists of client certificates that their authorities revoked, in PEM.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    client_crl: Option<PathBuf>,
    /// Whether every connection needs a client certificate [default: optional].
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    client_cert: Option<ClientCert>,
    /// Public keys that JSON Web Tokens are signed with, a JWK set.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks: Option<PathBuf>,
    /// Who issues the tokens: their claim `iss`.
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt_issuer: Option<String>,
    /// Whom the tokens are for: this is in their claim `aud`.
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt_audience: Option<String>,
    /// What is logged [default: info].
    #[arg(long, value_name = "FILTER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    /// Log in JSON.
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    log_json: bool,
    /// Fewest bytes free on the disk of store and cell for the service to be ready.
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    min_free_bytes: Option<u64>,
    /// Most bytes of a record.
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_record_bytes: Option<u64>,
    /// Seconds after which a connection or a body is given up on which nothing moves
    /// [default: 120].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_seconds: Option<NonZeroU32>,
    /// Requests a second of one principal, once its burst is used up.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_second: Option<u32>,
    /// Requests of one principal at once.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<u32>,
}

/// The grammar of the flags.
pub(crate) fn command() -> clap::Command {
    Flags::command()
}

/// Reads flags, environment and file.
///
/// # Errors
/// What is wrong with them, and where it was said.
pub(crate) fn ask() -> Result<Ask, Unusable> {
    let mut flags = Flags::parse();
    if let Some(manual) = flags.manual.take() {
        return Ok(Ask::Manual(manual));
    }
    if flags.openapi {
        return Ok(Ask::Document);
    }
    let file = &flags.config;
    let said_in_file = match file.exists() {
        true => Figment::new().merge(Toml::file_exact(file)),
        false if file == Path::new(FILE) => Figment::new(),
        false => return Err(format!("there is no configuration file {}", file.display()).into()),
    };
    let config: Config = said_in_file
        .merge(Env::prefixed("KEYFALL_").only(&said_in_environment()))
        .merge(Serialized::defaults(&flags))
        .extract()
        .map_err(said)?;
    config.check()?;
    remedy::name(&config.store, &config.cell_dir(), config.cell.is_some());
    Ok(if flags.check_config { Ask::Check(Box::new(config)) } else { Ask::Run(Box::new(config)) })
}

/// Settings that the environment says something of: a variable that is empty is none.
fn said_in_environment() -> Vec<&'static str> {
    let says = |name: &&&str| {
        let variable = format!("KEYFALL_{}", name.to_ascii_uppercase());
        std::env::var_os(variable).is_some_and(|value| !value.is_empty())
    };
    NAMES.iter().filter(says).copied().collect()
}

/// What of the environment looks like a setting, and is none.
pub(crate) fn no_settings() -> Vec<String> {
    let all = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let is_setting = |name: &str| NAMES.iter().any(|known| name.eq_ignore_ascii_case(known));
    let other = |name: &String| name.strip_prefix("KEYFALL_").is_some_and(|rest| !is_setting(rest));
    all.filter(other).collect()
}

/// What the environment may say, each as `KEYFALL_STORE` and so on.
const NAMES: &[&str] = &[
    "store",
    "cell",
    "single_machine",
    "standby",
    "beat",
    "gone_after",
    "object_cache",
    "object_cache_bytes",
    "state",
    "backup",
    "accept_remnants",
    "listen",
    "admin_token_file",
    "public_url",
    "tls_cert",
    "tls_key",
    "tls_by_proxy",
    "trusted_proxies",
    "proxy_header",
    "client_ca",
    "client_crl",
    "client_cert",
    "jwks",
    "jwt_issuer",
    "jwt_audience",
    "log",
    "log_json",
    "min_free_bytes",
    "max_record_bytes",
    "idle_seconds",
    "requests_per_second",
    "burst",
];

fn said(error: figment::Error) -> Unusable {
    use figment::error::Kind;
    match &error.kind {
        Kind::MissingField(name) => format!(
            "nothing says {name}: give --{}, KEYFALL_{}, or {name} in the configuration file",
            name.replace('_', "-"),
            name.to_uppercase()
        )
        .into(),
        _ => format!("the configuration is not right: {error}").into(),
    }
}
