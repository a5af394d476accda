//! What a request for an erase says.

use std::time::Duration;

use keyfall::{Class, Engine, Erase, ErrorKind, RecordId, Scope, UserHandle, When};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::gone::is_gone;
use crate::problem::{Answer, Problem};
use crate::words;

/// One erase, or a list of them.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is what the documentation says; each is read on its own")]
pub(crate) enum Requests {
    /// One.
    One(Box<ErasureRequest>),
    /// A list, of at most 1000.
    Many(Vec<ErasureRequest>),
}

/// An erase.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErasureRequest {
    /// What is to fall.
    pub(super) scope: ScopeAsked,
    /// Classes of the user that stay.
    #[serde(default)]
    pub(super) keep: Vec<String>,
    /// Why they stay; it is in the user's history and in the certificate.
    #[serde(default)]
    pub(super) reason: Option<String>,
    /// Not now but in so long: `30d`. Until then it can be cancelled.
    #[serde(default, rename = "in")]
    pub(super) later: Option<String>,
    /// It may be pending for so long, a day at most, together with others.
    #[serde(default)]
    pub(super) final_within: Option<String>,
    /// The person or office that asks, for the certificate.
    #[serde(default)]
    pub(super) authority: Option<String>,
    /// The legal ground, for the certificate.
    #[serde(default)]
    pub(super) ground: Option<String>,
    /// Whether a certificate is wanted; it is if an authority or a ground is named. That of an erase
    /// with `in` needs an Idempotency-Key, and is fetched with it when it is done.
    #[serde(default)]
    pub(super) certificate: Option<bool>,
}

/// What of whom: a record, or a user with what narrows it.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScopeAsked {
    /// The handle of a user.
    #[serde(default)]
    pub(super) user: Option<String>,
    /// The id of a record, alone.
    #[serde(default)]
    pub(super) record: Option<String>,
    /// Only records of this class.
    #[serde(default)]
    pub(super) class: Option<String>,
    /// Only records of this interaction.
    #[serde(default)]
    pub(super) interaction: Option<String>,
    /// Only interactions that began then or later.
    #[serde(default)]
    pub(super) after: Option<String>,
    /// Only interactions that began before.
    #[serde(default)]
    pub(super) before: Option<String>,
}

/// A request that was read, before its user is looked up.
#[derive(Clone)]
pub(super) struct Read {
    pub(super) request: ErasureRequest,
    pub(super) target: Target,
    pub(super) class: Option<Class>,
    pub(super) when: When,
    pub(super) keep: Vec<Class>,
    pub(super) delay: Option<Duration>,
    pub(super) window: Option<Duration>,
}

/// Whose records, or which one.
#[derive(Clone, Copy)]
pub(super) enum Target {
    User(UserHandle),
    Record(RecordId),
}

impl Target {
    /// The user that it is about.
    pub(super) fn handle(&self) -> UserHandle {
        match self {
            Target::User(handle) => *handle,
            Target::Record(id) => id.handle(),
        }
    }
}

impl Read {
    /// Reads a request.
    ///
    /// # Errors
    /// 400 for what is not one, 404 for what is no handle or id of this store.
    pub(super) fn new(request: ErasureRequest) -> Answer<Read> {
        let scope = &request.scope;
        let target = match (&scope.user, &scope.record) {
            (Some(user), None) => {
                Target::User(user.parse().map_err(|_| crate::app::no_such_handle())?)
            }
            (None, Some(id)) => Target::Record(id.parse()?),
            _ => return Err(Problem::invalid("a scope names a user or a record, one of the two")),
        };
        let when = match (&scope.interaction, &scope.after, &scope.before) {
            (None, None, None) => When::Ever,
            (Some(id), None, None) => When::Interaction(id.parse()?),
            (None, after, before) => When::Between {
                from: after.as_deref().map(words::point).transpose()?,
                until: before.as_deref().map(words::point).transpose()?,
            },
            _ => return Err(Problem::invalid("name an interaction or a time, one of the two")),
        };
        let class = words::class(scope.class.as_deref())?;
        if matches!(target, Target::Record(_)) && (class.is_some() || when != When::Ever) {
            return Err(Problem::invalid("a record is named alone; nothing narrows it"));
        }
        let keep = request.keep.iter().map(Class::new).collect::<Result<_, _>>()?;
        let delay = request.later.as_deref().map(words::span).transpose()?;
        let window = request.final_within.as_deref().map(words::span).transpose()?;
        Ok(Read { target, class, when, keep, delay, window, request })
    }

    /// Whether a certificate is wanted.
    pub(super) fn certified(&self) -> bool {
        let named = self.request.authority.is_some() || self.request.ground.is_some();
        self.request.certificate.unwrap_or(named)
    }

    /// Whether it is a whole user.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.target, Target::User(_))
            && self.class.is_none()
            && self.when == When::Ever
            && self.keep.is_empty()
    }

    /// Its scope, once the user is known.
    ///
    /// # Errors
    /// 403, 404, 410.
    pub(super) async fn scope(&self, app: &App, caller: &Caller) -> Answer<Scope> {
        match &self.target {
            Target::Record(id) => Ok(Scope::record(*id)),
            Target::User(handle) => {
                let user = caller.user(app, "erase", &handle.to_string()).await?.id;
                Ok(Scope::User { user, class: self.class.clone(), when: self.when })
            }
        }
    }

    /// Whether nothing of it is there any more.
    ///
    /// # Errors
    /// As [`Engine::would_erase`].
    pub(super) fn is_erased(&self, engine: &Engine) -> keyfall::Result<bool> {
        let scope = match &self.target {
            Target::Record(id) => Ok(Scope::record(*id)),
            Target::User(handle) => engine.user_of(handle).map(|user| Scope::User {
                user,
                class: self.class.clone(),
                when: self.when,
            }),
        };
        match scope.and_then(|scope| is_gone(engine, self.erase(scope))) {
            Err(e) if e.kind() == ErrorKind::Erased => Ok(true),
            gone => gone,
        }
    }

    /// The erase, of a scope.
    pub(super) fn erase(&self, scope: Scope) -> Erase {
        let reason = self.request.reason.as_deref().unwrap_or_default();
        let keep = self.keep.iter().cloned();
        let erase = keep.fold(Erase::new(scope), |erase, class| erase.keep(class, reason));
        match self.window {
            Some(window) => erase.final_within(window),
            None => erase,
        }
    }
}
