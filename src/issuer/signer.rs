//! The credentials that sign a request, from a source or from a parent role. A guard refuses to
//! sign with the credentials that roletap itself vends.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_credential_types::Credentials as BaseCredentials;

use crate::slots::Slots;
use crate::source::InHand;
use roletap_core::credentials::Credentials;
use roletap_core::failure::{Class, IssueError};
use roletap_core::role::{Principal, Role, RoleArn, RoleName, Source};

/// The number of access key IDs that are remembered per role. The newest are kept.
const REMEMBERED: usize = 8;

/// The newest access key IDs that were issued. A source that returns one of them reads roletap's
/// own endpoint.
#[derive(Debug, Default)]
pub(super) struct IssuedKeyIds(Mutex<BTreeMap<RoleName, VecDeque<String>>>);

impl IssuedKeyIds {
    pub(super) fn remember(&self, role: &RoleName, access_key_id: &str) {
        let mut issued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = issued.entry(role.clone()).or_default();
        keys.push_back(access_key_id.to_owned());
        if keys.len() > REMEMBERED {
            keys.pop_front();
        }
    }

    fn role_of(&self, access_key_id: &str) -> Option<RoleName> {
        let issued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (role, _) =
            issued.iter().find(|(_, keys)| keys.iter().any(|key| key == access_key_id))?;
        Some(role.clone())
    }
}

/// The credentials that sign a request. Their `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Signer {
    credentials: BaseCredentials,
    origin: SignerOrigin,
}

#[derive(Debug, Clone)]
enum SignerOrigin {
    Source(Arc<Source>, Arc<InHand>),
    Role,
}

impl Signer {
    pub(super) fn from_source(source: Arc<Source>, in_hand: Arc<InHand>) -> Self {
        Self {
            credentials: in_hand.credentials.clone(),
            origin: SignerOrigin::Source(source, in_hand),
        }
    }

    /// Creates a signer from credentials that were issued for a role.
    pub fn from_issued(credentials: &Credentials) -> Self {
        let expires_at = credentials.expires_at();
        let credentials = credentials.for_signing(|id, secret, token| {
            BaseCredentials::new(id, secret, Some(token.to_owned()), Some(expires_at), "role")
        });
        Self { credentials, origin: SignerOrigin::Role }
    }

    /// Creates a signer from the credentials that `parent` vends at `now`.
    pub(super) fn from_role(
        parent: &Role,
        slots: &Slots,
        now: SystemTime,
    ) -> Result<Self, IssueError> {
        let name = &parent.name;
        let failed =
            |what: String| IssueError::new(Class::Source, format!("the role {name} {what}"));
        let slot = slots
            .find(name.as_str())
            .filter(|slot| slot.role.same_request(parent))
            .ok_or_else(|| failed("is no longer configured".to_owned()))?;
        let state = slot.state();
        match state.vend(now) {
            Ok(held) => Ok(Self::from_issued(held)),
            Err(_) => {
                let why = match state.failures() {
                    Some(failures) => failures.error.message.clone(),
                    None if state.credentials().is_some() => {
                        "its credentials have expired".to_owned()
                    }
                    None => "its first attempt has not finished".to_owned(),
                };
                Err(failed(format!("has no unexpired credentials: {why}")))
            }
        }
    }

    pub(super) fn credentials(&self) -> BaseCredentials {
        self.credentials.clone()
    }

    pub(super) fn in_hand(&self) -> Option<&InHand> {
        match &self.origin {
            SignerOrigin::Source(_, in_hand) => Some(in_hand),
            SignerOrigin::Role => None,
        }
    }

    /// True for a session of a role: AWS limits what is chained to it to one hour.
    pub(super) fn is_role_session(&self) -> bool {
        match &self.origin {
            SignerOrigin::Role => true,
            SignerOrigin::Source(source, in_hand) => {
                source.origin.role_arn().is_some()
                    || in_hand.identity.as_ref().is_some_and(|identity| identity.is_role_session())
            }
        }
    }

    /// Returns the reason not to sign for `role`, if its source leads back to roletap or to the
    /// role.
    pub(super) fn loop_reason(
        &self,
        role: &Role,
        slots: &Slots,
        issued: &IssuedKeyIds,
    ) -> Option<String> {
        let SignerOrigin::Source(source, in_hand) = &self.origin else {
            return None;
        };
        let key = self.credentials.access_key_id();
        let table = slots.load();
        let vended = table.slots.values().find(|slot| {
            let state = slot.state();
            state.credentials().is_some_and(|held| held.access_key_id() == key)
        });
        let vended = vended.map(|slot| slot.role.name.clone());
        if let Some(vended) = vended.or_else(|| issued.role_of(key)) {
            return Some(format!(
                "source `{}` ({}) returns the credentials that roletap vends for the role {}: it reads \
                 roletap's own endpoint",
                source.name, source.origin, vended
            ));
        }
        let principal = in_hand.identity.as_ref()?.principal();
        (!role.allow_self_assume && is_same_role(principal, &role.request.role_arn)).then(|| {
            format!(
                "source `{}` is already a session of {}. Assuming the role again only gives a shorter \
                 session. Does the source read another roletap? If this is intended, set \
                 `allow_self_assume = true`",
                source.name, role.request.role_arn
            )
        })
    }
}

/// Compares without the path of the role, because the ARN of a session does not contain it.
fn is_same_role(principal: &Principal, role: &RoleArn) -> bool {
    let name = principal.arn().rsplit('/').next().unwrap_or_default();
    principal.arn().contains(":role/")
        && name == role.role_name()
        && principal.account_id() == role.account_id()
        && principal.partition() == role.partition()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_known_without_its_path() {
        let role = RoleArn::parse("arn:aws:iam::111122223333:role/team/orders", false).unwrap();
        for (principal, same) in [
            ("arn:aws:sts::111122223333:assumed-role/orders/host", true),
            ("arn:aws:sts::111122223333:assumed-role/Orders/host", false),
            ("arn:aws:sts::444455556666:assumed-role/orders/host", false),
            ("arn:aws-cn:sts::111122223333:assumed-role/orders/host", false),
            ("arn:aws:iam::111122223333:user/orders", false),
        ] {
            let principal = Principal::parse(principal, false).unwrap();
            assert_eq!(is_same_role(&principal, &role), same, "{principal}");
        }
    }
}
