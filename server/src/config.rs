//! What the service is told: a file, the environment over it, flags over both.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Parser;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

/// Where the file is unless `--config` names another.
const FILE: &str = "/etc/keyfall/keyfall.toml";

/// What a start asks for.
pub(crate) enum Ask {
    /// To serve.
    Run(Box<Config>),
    /// To look at the configuration alone; it is right.
    Checked,
    /// To write the document that describes the service.
    Document,
}

/// Why the service cannot be started as it was told.
pub(crate) type Unusable = Box<dyn std::error::Error>;

/// The configuration, whole.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Directory of the store; it is made where there is none.
    pub(crate) store: PathBuf,
    /// Directory of the root cell; beside the store unless it is given.
    #[serde(default)]
    pub(crate) cell: Option<PathBuf>,
    /// Directory of the service's own files; STORE.service unless it is given.
    #[serde(default)]
    pub(crate) state: Option<PathBuf>,
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
    /// What is logged, as `tracing` filters it: `info`, `keyfalld=debug`.
    #[serde(default = "log")]
    pub(crate) log: String,
    /// Logs in JSON.
    #[serde(default)]
    pub(crate) log_json: bool,
    /// Most bytes of a record.
    #[serde(default = "max_record_bytes")]
    pub(crate) max_record_bytes: u64,
    /// Requests a second of one principal, once its burst is used up.
    #[serde(default = "requests_per_second")]
    pub(crate) requests_per_second: u32,
    /// Requests of one principal at once.
    #[serde(default = "burst")]
    pub(crate) burst: u32,
}

impl Config {
    /// The directory of the service's own files.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.state.clone().unwrap_or_else(|| beside(&self.store, "service"))
    }
}

fn listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7400))
}

fn log() -> String {
    "info".to_owned()
}

fn max_record_bytes() -> u64 {
    16 << 30
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

/// Keyfall as a service: the engine over HTTP, and the page where people hear and erase what is
/// kept of them.
#[derive(Parser, Serialize)]
#[command(name = "keyfalld", version)]
struct Flags {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = FILE)]
    #[serde(skip)]
    config: PathBuf,
    /// Read the configuration, say what is wrong with it, and end.
    #[arg(long)]
    #[serde(skip)]
    check_config: bool,
    /// Write the document that describes the service (OpenAPI 3.1), and end.
    #[arg(long)]
    #[serde(skip)]
    openapi: bool,
    /// Directory of the store; it is made where there is none.
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<PathBuf>,
    /// Directory of the root cell [default: STORE.cell].
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    cell: Option<PathBuf>,
    /// Directory of the service's own files [default: STORE.service].
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<PathBuf>,
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
    /// What is logged [default: info].
    #[arg(long, value_name = "FILTER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    /// Log in JSON.
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    log_json: bool,
}

/// Reads flags, environment and file.
///
/// # Errors
/// What is wrong with them, and where it was said.
pub(crate) fn ask() -> Result<Ask, Unusable> {
    let flags = Flags::parse();
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
        .merge(Env::prefixed("KEYFALL_").only(NAMES))
        .merge(Serialized::defaults(&flags))
        .extract()
        .map_err(said)?;
    Ok(if flags.check_config { Ask::Checked } else { Ask::Run(Box::new(config)) })
}

/// What the environment may say, each as `KEYFALL_STORE` and so on.
const NAMES: &[&str] = &[
    "store",
    "cell",
    "state",
    "accept_remnants",
    "listen",
    "admin_token_file",
    "public_url",
    "log",
    "log_json",
    "max_record_bytes",
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
