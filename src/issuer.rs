//! One attempt to issue credentials for a role: find the signer, call STS, remember what was
//! issued.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use self::signer::IssuedKeyIds;
pub use self::signer::Signer;
use crate::slots::{Slot, Slots};
use crate::source::{LOAD_TIMEOUT, SourceError, Sources, read_token};
use crate::sts::Client;
use roletap_core::credentials::Credentials;
use roletap_core::failure::{Class, IssueError};
use roletap_core::role::{Base, Role, RoleName, Source, TokenIdentity};

mod signer;

/// The longest session that AWS grants to a role that is assumed by a role, in seconds.
const LONGEST_CHAINED: u32 = 3600;
/// The age up to which the credentials of a parent role are kept although STS refused them.
const YOUNG: Duration = Duration::from_secs(60);

/// Issues credentials for a role: one attempt, bounded in time, without retries of its own.
pub trait Issuer: Send + Sync + 'static {
    /// Prepares the base of an attempt, bounded in time. It runs before the role takes its turn, so
    /// that a slow source delays no other role.
    fn prepare(&self, _: &Role) -> impl Future<Output = Result<(), IssueError>> + Send {
        async { Ok(()) }
    }

    /// Makes one attempt to issue credentials.
    fn issue(&self, role: &Role) -> impl Future<Output = Result<Credentials, IssueError>> + Send;
}

/// Issues credentials by STS. A source, a parent role or a web identity token gives the identity.
#[derive(Debug)]
pub struct StsIssuer {
    sts: Arc<Client>,
    sources: Arc<Sources>,
    /// Parent roles are found here.
    slots: Arc<Slots>,
    /// Roles whose duration was limited to an hour. Each is logged once.
    clamped: Mutex<BTreeSet<RoleName>>,
    issued: IssuedKeyIds,
}

impl StsIssuer {
    /// Creates an issuer that signs with the credentials of `sources`, or of parent roles in
    /// `slots`.
    pub fn new(sts: Arc<Client>, sources: Arc<Sources>, slots: Arc<Slots>) -> Self {
        Self { sts, sources, slots, clamped: Mutex::default(), issued: IssuedKeyIds::default() }
    }

    /// Makes one attempt to issue credentials, signed by `signer`.
    pub async fn issue_signed_by(
        &self,
        role: &Role,
        signer: &Signer,
    ) -> Result<Credentials, IssueError> {
        if let Some(why) = signer.loop_reason(role, &self.slots, &self.issued) {
            return Err(IssueError::new(Class::Misconfigured, why));
        }
        let seconds = self.seconds(role, signer);
        let issued = self.sts.assume_role(role, signer.credentials(), seconds).await?;
        self.issued.remember(&role.name, issued.access_key_id());
        Ok(issued)
    }

    async fn issue_for_token(
        &self,
        role: &Role,
        identity: &TokenIdentity,
    ) -> Result<Credentials, IssueError> {
        let token = read_token(&identity.token_file).await.map_err(|error| {
            IssueError::new(Class::Source, format!("no usable web identity token: {error}"))
        })?;
        let issued = self.sts.assume_role_with_web_identity(role, identity, &token).await?;
        self.issued.remember(&role.name, issued.access_key_id());
        Ok(issued)
    }

    async fn signer(&self, role: &Role) -> Result<Signer, IssueError> {
        match &role.request.base {
            Base::Source(source) => {
                let in_hand = match self.sources.in_hand(source) {
                    Some(in_hand) => Ok(in_hand),
                    None => self.sources.credentials(source).await,
                };
                let in_hand = in_hand.map_err(|error| no_base(source, &error))?;
                Ok(Signer::from_source(source.clone(), in_hand))
            }
            Base::Role(parent) => Signer::from_role(parent, &self.slots, self.sts.now()),
            Base::Token(_) => Err(IssueError::new(
                Class::Source,
                "a role with a web identity token has no signer",
            )),
        }
    }

    /// Has the base credentials loaded or issued again after STS refused them.
    fn base_was_refused(&self, role: &Role, signer: &Signer) {
        match (&role.request.base, signer.in_hand()) {
            (Base::Source(source), Some(in_hand)) => self.sources.refused(source, in_hand),
            (Base::Role(parent), _) => {
                let slot = self.slots.find(parent.name.as_str());
                // Young credentials are probably valid, and two roles must not refresh each other forever.
                let stale = |slot: &Arc<Slot>| {
                    let issued_at = slot.state().credentials().map(|held| held.issued_at());
                    issued_at
                        .and_then(|at| self.sts.now().duration_since(at).ok())
                        .is_some_and(|age| age > YOUNG)
                };
                if let Some(slot) = slot.filter(stale) {
                    slot.request_refresh();
                }
            }
            (Base::Source(_) | Base::Token(_), _) => {}
        }
    }

    /// Returns the duration to request. It is at most an hour if the signer is itself a role
    /// session, which is logged once per role.
    fn seconds(&self, role: &Role, signer: &Signer) -> u32 {
        let asked = role.duration.as_secs();
        if asked <= LONGEST_CHAINED || !signer.is_role_session() {
            return asked;
        }
        let mut clamped = self.clamped.lock().unwrap_or_else(PoisonError::into_inner);
        if clamped.insert(role.name.clone()) {
            tracing::warn!(
                role = role.name.as_str(),
                duration_seconds = asked,
                "roletap's base identity is itself an assumed role, so AWS grants at most {LONGEST_CHAINED} seconds: roletap requests {LONGEST_CHAINED} seconds"
            );
        }
        LONGEST_CHAINED
    }
}

impl Issuer for StsIssuer {
    async fn prepare(&self, role: &Role) -> Result<(), IssueError> {
        let patience = LOAD_TIMEOUT + self.sts.attempt_timeout();
        match &role.request.base {
            Base::Source(source) => {
                let loaded = self.sources.credentials(source);
                let loaded = tokio::time::timeout(patience, loaded).await;
                let late =
                    || SourceError::new(format!("no credentials within {} s", patience.as_secs()));
                let loaded = loaded.unwrap_or_else(|_| Err(late()));
                loaded.map(|_| ()).map_err(|error| no_base(source, &error))
            }
            Base::Role(parent) => {
                if let Some(slot) = self.slots.find(parent.name.as_str()) {
                    let _ = tokio::time::timeout(patience, slot.first_attempt_concluded()).await;
                }
                self.signer(role).await.map(|_| ())
            }
            // Read for the attempt itself, so that it is the newest.
            Base::Token(_) => Ok(()),
        }
    }

    async fn issue(&self, role: &Role) -> Result<Credentials, IssueError> {
        if let Base::Token(identity) = &role.request.base {
            return self.issue_for_token(role, identity).await;
        }
        let signer = self.signer(role).await?;
        let outcome = self.issue_signed_by(role, &signer).await;
        let class = outcome.as_ref().err().map(|error| error.class);
        if matches!(class, Some(Class::Source | Class::Clock)) {
            self.base_was_refused(role, &signer);
        }
        outcome
    }
}

fn no_base(source: &Source, error: &SourceError) -> IssueError {
    let Source { name, origin } = source;
    IssueError::new(
        Class::Source,
        format!("no base credentials from the source {name} ({origin}): {error}"),
    )
}
