//! Places as URLs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use super::credentials::{lacking_az, lacking_gs, lacking_s3};
use crate::causes::line;
use crate::port::{Failure, Result};

/// The schemes of places.
pub const SCHEMES: [&str; 4] = ["s3", "gs", "az", "file"];

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What ends the name of a bucket of S3 Express One Zone.
const EXPRESS: &str = "--x-s3";

/// A place, opened.
pub(super) struct Opened {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) prefix: Path,
    pub(super) sorted: bool,
}

pub(super) fn open(url: &str, endpoint: Option<&str>) -> Result<Opened> {
    let refused = |why: String| Failure::refused(format!("{url}: {why}"));
    let parsed = Url::parse(url).map_err(|e| refused(format!("not a URL: {e}")))?;
    let prefix = Path::from_url_path(parsed.path()).map_err(|e| refused(e.to_string()))?;
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(refused("a place has neither `?` nor `#`".into()));
    }
    if endpoint.is_some() && !["s3", "az"].contains(&parsed.scheme()) {
        return Err(refused("only s3:// and az:// places have an endpoint to be named".into()));
    }
    if parsed.scheme() == "file" {
        return directory(&parsed).map_err(refused);
    }
    let bucket = parsed.host_str().filter(|bucket| !bucket.is_empty());
    let bucket = bucket.ok_or_else(|| {
        refused(format!("no bucket is named; write {}://BUCKET/PREFIX", parsed.scheme()))
    })?;
    if !parsed.username().is_empty() || parsed.port().is_some() {
        return Err(refused(
            "a place is a bucket and a prefix; name endpoint and credentials in the environment"
                .into(),
        ));
    }
    let store: Arc<dyn ObjectStore> = match parsed.scheme() {
        "s3" => s3(bucket, endpoint),
        "gs" => gs(bucket),
        "az" => az(bucket, endpoint),
        other => Err(Unbuilt::Refused(format!("{other}:// is none of {}", SCHEMES.join(", ")))),
    }
    .map_err(|e| match e {
        Unbuilt::Refused(why) => refused(why),
        Unbuilt::Lacking(why) => Failure::unknown(format!("{url}: {why}")),
    })?;
    Ok(Opened { store, prefix, sorted: true })
}

/// The directory that a `file:///` URL names; it need not be there.
pub fn directory_of(url: &str) -> Option<PathBuf> {
    Url::parse(url).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()
}

fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// How the server at an endpoint is asked, or the one that the service has by itself.
fn client(endpoint: Option<&str>) -> std::result::Result<ClientOptions, Unbuilt> {
    let known = |scheme: &str| ["http", "https"].contains(&scheme);
    let is_url = |at: &str| Url::parse(at).is_ok_and(|at| known(at.scheme()) && at.has_host());
    if let Some(odd) = endpoint.filter(|at| !is_url(at)) {
        let why = format!("its endpoint {odd:?} is no URL; write http://HOST:PORT or https://HOST");
        return Err(Unbuilt::Refused(why));
    }
    let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    Ok(ClientOptions::new()
        .with_timeout(TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_allow_http(plain))
}

fn variable(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// Options of a service as the environment names them, by the beginning of their names. An empty
/// variable is none: the crate takes an empty endpoint for one, and panics.
fn options<K: FromStr>(prefix: &'static str) -> impl Iterator<Item = (K, String)> {
    let text = move |(name, value): (OsString, OsString)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        let named = name.starts_with(prefix) && !value.is_empty();
        named.then(|| name.to_ascii_lowercase().parse().ok()).flatten().zip(Some(value))
    };
    std::env::vars_os().filter_map(text)
}

type Built = std::result::Result<Arc<dyn ObjectStore>, Unbuilt>;

/// Why there is no adapter for a place.
enum Unbuilt {
    /// There can be none.
    Refused(String),
    /// The environment lacks credentials for it.
    Lacking(String),
}

impl From<object_store::Error> for Unbuilt {
    fn from(e: object_store::Error) -> Self {
        Unbuilt::Refused(line(&e))
    }
}

fn s3(bucket: &str, endpoint: Option<&str>) -> Built {
    if bucket.ends_with(EXPRESS) {
        let why = "a bucket of S3 Express One Zone lists without order; take another";
        return Err(Unbuilt::Refused(why.to_owned()));
    }
    let of_environment = variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]);
    let builder = options("AWS_")
        .fold(AmazonS3Builder::new(), |builder, (key, value)| builder.with_config(key, value));
    let mut builder = builder
        .with_bucket_name(bucket)
        .with_client_options(client(endpoint.or(of_environment.as_deref()))?)
        .with_retry(once());
    if let Some(endpoint) = endpoint {
        // Also where the environment names one for S3 alone.
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    if let Some(region) = variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]) {
        builder = builder.with_region(region);
    }
    if let Some(why) = lacking_s3(&builder) {
        return Err(Unbuilt::Lacking(why));
    }
    Ok(Arc::new(builder.build()?))
}

fn gs(bucket: &str) -> Built {
    let emulator = emulator()?;
    let mut builder = options("GOOGLE_")
        .fold(GoogleCloudStorageBuilder::new(), |all, (key, value)| all.with_config(key, value));
    if let Some(path) = variable(&["SERVICE_ACCOUNT"]) {
        builder = builder.with_service_account_path(path);
    }
    let mut builder = builder
        .with_bucket_name(bucket)
        .with_client_options(client(emulator.as_ref().map(Url::as_str))?)
        .with_retry(once());
    if let Some(at) = emulator {
        // The crate takes another endpoint from a service account alone.
        let at = at.as_str().trim_end_matches('/');
        let nobody = "\"client_email\":\"\",\"private_key\":\"\",\"private_key_id\":\"\"";
        builder = builder.with_service_account_key(format!(
            "{{\"gcs_base_url\":\"{at}\",\"disable_oauth\":true,{nobody}}}"
        ));
    }
    if let Some(why) = lacking_gs(&builder) {
        return Err(Unbuilt::Lacking(why));
    }
    Ok(Arc::new(builder.build()?))
}

/// A server that takes Google's place, as Google's own clients are told of one.
fn emulator() -> std::result::Result<Option<Url>, Unbuilt> {
    let Some(named) = variable(&["STORAGE_EMULATOR_HOST"]) else { return Ok(None) };
    let whole = if named.contains("://") { named.clone() } else { format!("http://{named}") };
    let why = |e| format!("STORAGE_EMULATOR_HOST is {named:?}: {e}; write http://HOST:PORT");
    Url::parse(&whole).map(Some).map_err(|e| Unbuilt::Refused(why(e)))
}

fn az(container: &str, endpoint: Option<&str>) -> Built {
    let of_environment = variable(&["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"]);
    let emulated = variable(&["AZURE_STORAGE_USE_EMULATOR", "AZURE_USE_EMULATOR"]).is_some();
    let plain =
        if emulated { Some("http://127.0.0.1") } else { endpoint.or(of_environment.as_deref()) };
    let mut builder = options("AZURE_")
        .fold(MicrosoftAzureBuilder::new(), |all, (key, value)| all.with_config(key, value));
    if let Some(endpoint) = variable(&["IDENTITY_ENDPOINT"]) {
        builder = builder.with_msi_endpoint(endpoint);
    }
    let mut builder = builder
        .with_container_name(container)
        .with_client_options(client(plain)?)
        .with_retry(once());
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.to_owned());
    }
    if let Some(why) = lacking_az(&builder) {
        return Err(Unbuilt::Lacking(why));
    }
    Ok(Arc::new(builder.build()?))
}

/// A directory, made if it is not there. Files and their names are synced.
fn directory(url: &Url) -> std::result::Result<Opened, String> {
    let dir = url.to_file_path().map_err(|()| "not a path; write file:///DIRECTORY".to_owned())?;
    std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    let store = LocalFileSystem::new_with_prefix(&dir).map_err(|e| e.to_string())?;
    let store = Arc::new(store.with_fsync(true));
    Ok(Opened { store, prefix: Path::default(), sorted: false })
}
