//! Stores on the servers that the environment names, each beyond a proxy.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use keyfall::Builder;
use keyfall::cell::MemoryCell;
use keyfall::engine::Keeper;
use keyfall::store::ObjectLog;
use keyfall_objects::Objects;
use keyfall_objects::cloud::CloudObjects;
#[cfg(feature = "postgres")]
use keyfall_objects::postgres::PostgresObjects;

use crate::proxy::{Faults, Proxy, Server};

/// A place for a store, seen through a proxy of its own.
pub(crate) struct Far {
    pub(crate) proxy: Proxy,
    /// The place, as a process sees it that has `environment`.
    pub(crate) url: String,
    environment: Vec<(&'static str, String)>,
}

impl Far {
    /// Its objects, through the proxy.
    pub(crate) fn objects(&self) -> Arc<dyn Objects> {
        match self.environment.first() {
            Some((_, endpoint)) => {
                Arc::new(CloudObjects::at_endpoint(&self.url, endpoint).unwrap())
            }
            #[cfg(feature = "postgres")]
            None => Arc::new(PostgresObjects::at(&self.url).unwrap()),
            #[cfg(not(feature = "postgres"))]
            None => unreachable!(),
        }
    }

    /// The same store, for an engine in this process with a cell in a directory.
    pub(crate) fn builder(&self, cell: &Path) -> Builder {
        let log = ObjectLog::open(self.objects()).unwrap();
        let none = Arc::new(MemoryCell::new());
        Builder::over(Arc::new(log), none).cell_at(cell).keeper(Keeper::ByHand)
    }

    /// Has a process see it.
    pub(crate) fn seen_by<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.envs(self.environment.iter().cloned())
    }
}

/// A new store on each server that the environment names. Without one, what wants one is passed
/// over.
pub(crate) fn far(faults: Faults, seed: u64) -> Vec<Far> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut all = Vec::new();
    let new = || format!("far-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    if let (Ok(place), Ok(endpoint)) =
        (std::env::var("KEYFALL_S3"), std::env::var("AWS_ENDPOINT_URL"))
    {
        let at = endpoint.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        let proxy = Proxy::to(Server::S3(at), faults, seed);
        let through = format!("http://127.0.0.1:{}", proxy.port());
        let environment = vec![("AWS_ENDPOINT_URL", through)];
        all.push(Far { proxy, url: format!("{place}/{}", new()), environment });
    }
    if let (Ok(place), Ok(endpoint)) =
        (std::env::var("KEYFALL_AZURE"), std::env::var("AZURE_STORAGE_ENDPOINT"))
    {
        let at = endpoint.strip_prefix("http://").unwrap();
        let (at, account) = at.split_once('/').unwrap();
        let proxy = Proxy::to(Server::Azure(at.to_owned()), faults, seed);
        let through = format!("http://127.0.0.1:{}/{account}", proxy.port());
        let environment = vec![("AZURE_STORAGE_ENDPOINT", through)];
        all.push(Far { proxy, url: format!("{place}/{}", new()), environment });
    }
    if cfg!(feature = "postgres")
        && let Ok(place) = std::env::var("KEYFALL_POSTGRES")
    {
        let option = |name: &str| {
            let options = place.split_once('?').unwrap().1;
            options.split('&').find_map(|o| o.strip_prefix(name)).unwrap().to_owned()
        };
        let socket = format!("{}/.s.PGSQL.{}", option("host="), option("port="));
        let proxy = Proxy::to(Server::Postgres(socket.into()), faults, seed);
        let (port, store) = (proxy.port(), new());
        let at = "postgres://ada@127.0.0.1";
        let url = format!("{at}:{port}/keyfall?sslmode=disable&timeout=10&store={store}");
        all.push(Far { proxy, url, environment: Vec::new() });
    }
    let needed = std::env::var("KEYFALL_SERVERS").unwrap_or_default();
    let (needed, there) = (needed.split_whitespace().count(), all.len());
    assert!(there >= needed, "{there} servers are tested, of {needed} that were started");
    if all.is_empty() {
        eprintln!("passed over: KEYFALL_S3, KEYFALL_AZURE and KEYFALL_POSTGRES name no server");
    }
    all
}

/// How many rounds a variable asks for.
pub(crate) fn rounds(variable: &str, few: u64) -> u64 {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(few)
}
