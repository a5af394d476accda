//! Connections, and statements that are answered within a time.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, NoTls, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failures::failure;
use super::place::Place;
use crate::port::{Failure, Result};

/// Threads that do the waiting for the network.
const THREADS: usize = 2;
/// Connections that are kept while nobody uses them.
const IDLE: usize = 4;

/// A value of a statement.
pub(super) enum Value {
    Text(String),
    Bytes(Vec<u8>),
    Number(i64),
}

impl Value {
    fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Value::Text(text) => (text, Type::TEXT),
            Value::Bytes(bytes) => (bytes, Type::BYTEA),
            Value::Number(number) => (number, Type::INT8),
        }
    }
}

/// A connection that one request uses at a time.
pub(super) struct Session {
    client: Arc<Client>,
    /// Whether the server was looked at, and may be written to.
    pub(super) is_checked: bool,
    /// The statements that were sent over it, where they are to be prepared: each is when it is
    /// sent for the second time.
    statements: Arc<Mutex<HashMap<String, Option<Statement>>>>,
}

/// Why there is no answer.
pub(super) enum Trouble {
    Late,
    Server(Error),
}

/// Connections to one place.
pub(super) struct Pool {
    url: String,
    config: Config,
    tls: Option<MakeRustlsConnect>,
    timeout: Duration,
    prepared: bool,
    idle: Mutex<Vec<Session>>,
    runtime: Option<Runtime>,
}

impl Pool {
    pub(super) fn new(place: &Place, tls: Option<MakeRustlsConnect>) -> Result<Self> {
        let url = &place.url;
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()
            .map_err(|e| Failure::refused(format!("{url}: no threads for the network: {e}")))?;
        Ok(Pool {
            url: url.to_owned(),
            config: place.config.clone(),
            tls,
            timeout: place.timeout,
            prepared: place.prepared,
            idle: Mutex::new(Vec::new()),
            runtime: Some(runtime),
        })
    }

    /// Does something with a connection, which is kept for others if that succeeded.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let there = loop {
            let there = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match there {
                Some(session) if session.client.is_closed() => {}
                there => break there,
            }
        };
        let mut session = there.map_or_else(|| self.connect(), Ok)?;
        let done = act(&mut session)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE && !session.client.is_closed() {
            idle.push(session);
        }
        Ok(done)
    }

    fn connect(&self) -> Result<Session> {
        let (config, tls) = (self.config.clone(), self.tls.clone());
        let connect = async move {
            match tls {
                Some(tls) => {
                    let (client, connection) = config.connect(tls).await?;
                    tokio::spawn(connection);
                    Ok(client)
                }
                None => {
                    let (client, connection) = config.connect(NoTls).await?;
                    tokio::spawn(connection);
                    Ok(client)
                }
            }
        };
        let client = self.wait(connect).map_err(|e| self.failure("connecting", &e))?;
        let (client, statements) = (Arc::new(client), Arc::default());
        Ok(Session { client, is_checked: false, statements })
    }

    /// The answer to one statement: one round trip, and one more where it is prepared.
    pub(super) fn ask(
        &self,
        session: &Session,
        statement: impl Into<String>,
        values: Vec<Value>,
    ) -> std::result::Result<Vec<Row>, Trouble> {
        let (client, statement) = (Arc::clone(&session.client), statement.into());
        let statements = self.prepared.then(|| Arc::clone(&session.statements));
        self.wait(async move {
            let values: Vec<_> = values.iter().map(Value::typed).collect();
            let known = |made| {
                let statements = statements.as_ref()?;
                let mut known = statements.lock().unwrap_or_else(PoisonError::into_inner);
                known.insert(statement.clone(), made)
            };
            let prepared = match known(None) {
                None => return client.query_typed(&statement, &values).await,
                Some(Some(prepared)) => prepared,
                Some(None) => {
                    let types: Vec<Type> = values.iter().map(|(_, of)| of.clone()).collect();
                    client.prepare_typed(&statement, &types).await?
                }
            };
            known(Some(prepared.clone()));
            let values: Vec<_> = values.iter().map(|(value, _)| *value).collect();
            client.query(&prepared, &values).await
        })
    }

    /// Runs statements without values, all or none.
    pub(super) fn run(
        &self,
        session: &Session,
        statements: &'static str,
    ) -> std::result::Result<(), Trouble> {
        let client = Arc::clone(&session.client);
        self.wait(async move { client.batch_execute(statements).await })
    }

    pub(super) fn failure(&self, what: &str, trouble: &Trouble) -> Failure {
        match trouble {
            Trouble::Late => Failure::unknown(format!(
                "{}: {what}: no answer within {} s",
                self.url,
                self.timeout.as_secs()
            )),
            Trouble::Server(e) => failure(&self.url, what, e),
        }
    }

    /// Runs a request on the threads of this place, and waits for it: the caller may be a thread
    /// of another runtime.
    fn wait<T: Send + 'static>(
        &self,
        request: impl Future<Output = std::result::Result<T, Error>> + Send + 'static,
    ) -> std::result::Result<T, Trouble> {
        let (tell, told) = mpsc::channel();
        let timeout = self.timeout;
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                let _ = tell.send(tokio::time::timeout(timeout, request).await);
            });
        }
        match told.recv() {
            Ok(Ok(answer)) => answer.map_err(Trouble::Server),
            Ok(Err(_)) | Err(_) => Err(Trouble::Late),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Waiting for it is not allowed on a thread of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
