//! The callers of the endpoints, as the kernel knows them, and the decision whether a role lets
//! them in. Pure: the daemon asks the kernel.
//!
//! A second factor beside the token, for callers in roletap's network namespace. The kernel tells
//! who *opened* the socket: a process that was handed one, or has changed its user since, goes by
//! another's name. A caller that is not certain is refused.

pub mod inet_diag;

use std::fmt;

use crate::role::{CallerPolicy, OVERFLOW_UID, UnitName};

/// The kernel's word on the socket at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user that opened the socket.
    pub uid: u32,
    /// The control group in which the socket was opened. The kernel never gives its number to
    /// another.
    pub group: Option<u64>,
}

/// The reason why nothing is known of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The kernel does not tell roletap about anybody.
    #[error("somebody: the kernel does not tell roletap who is calling")]
    Unavailable,
    /// The kernel has no such socket: it is closed, or in another network namespace, or on another
    /// host.
    #[error("somebody whom the kernel does not show here: in another network namespace, or gone")]
    NotFound,
    /// The connection came by a socket in another network namespace, of which the kernel shows
    /// nobody.
    #[error(
        "somebody by a socket in another network namespace, where the kernel does not show roletap who is calling"
    )]
    ForeignNamespace,
    /// The process has closed its socket. Kernels before 6.2 call such a socket root's.
    #[error("a process that has closed its end or ended")]
    Closed,
    /// The kernel did not answer, or not about this socket.
    #[error("somebody of whom the kernel said nothing")]
    NoReply,
}

/// A caller in words, for refusals and the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    caller: Result<Caller, PeerError>,
    unit: Option<UnitName>,
}

/// A caller that a role lets in, known by the user and unit that the role asks for. It is the same
/// after a restart of its process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Consumer {
    /// The user, if the role has `allow_users`.
    pub user: Option<u32>,
    /// The unit, if the role has `allow_units`.
    pub unit: Option<UnitName>,
}

/// Returns the consumer that a caller is, if the policy lets it in, and else its description.
/// `unit_of` is called only if the policy asks for the unit.
pub fn admit(
    callers: &CallerPolicy,
    caller: Result<Caller, PeerError>,
    unit_of: impl FnOnce(u64) -> Option<UnitName>,
) -> Result<Consumer, Description> {
    if callers.is_empty() {
        return Ok(Consumer::default());
    }
    let Ok(seen) = caller else {
        return Err(Description { caller, unit: None });
    };
    let known = seen.uid != OVERFLOW_UID;
    let users = callers.users.as_ref();
    let is_one = users.is_none_or(|users| known && users.iter().any(|user| user.uid == seen.uid));
    let user = users.map(|_| seen.uid);
    if is_one && callers.units.is_none() {
        return Ok(Consumer { user, unit: None });
    }
    let unit = seen.group.and_then(unit_of);
    let units = callers.units.as_ref();
    let runs_in_one =
        units.is_none_or(|units| unit.as_ref().is_some_and(|unit| units.contains(unit)));
    if is_one && runs_in_one {
        let unit = unit.filter(|_| units.is_some());
        Ok(Consumer { user, unit })
    } else {
        Err(Description { caller, unit })
    }
}

impl Consumer {
    /// Returns true if the role asks nothing about its callers.
    pub fn is_anybody(&self) -> bool {
        self.user.is_none() && self.unit.is_none()
    }

    /// Returns true if this policy lets the consumer in, and asks for as much of it.
    pub fn is_among(&self, callers: &CallerPolicy) -> bool {
        let user = callers.users.as_ref().map_or(self.user.is_none(), |users| {
            users.iter().any(|user| Some(user.uid) == self.user)
        });
        let unit = callers.units.as_ref().map_or(self.unit.is_none(), |units| {
            self.unit.as_ref().is_some_and(|unit| units.contains(unit))
        });
        user && unit
    }
}

impl Description {
    /// Makes a description of what is known.
    pub fn of(caller: Result<Caller, PeerError>, unit: Option<UnitName>) -> Self {
        Self { caller, unit }
    }
}

/// Reads after "it was asked for by".
impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let caller = match self.caller {
            Ok(caller) => caller,
            Err(unseen) => return unseen.fmt(f),
        };
        if caller.uid == OVERFLOW_UID {
            f.write_str(
                "a user whom the kernel cannot name to roletap (PrivateUsers=, a user namespace)",
            )?;
        } else {
            write!(f, "user {}", caller.uid)?;
        }
        match &self.unit {
            Some(unit) => write!(f, " in {}", unit.as_str()),
            None => f.write_str(" in no unit that roletap can see"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::callers;

    fn seen(uid: u32, group: u64) -> Result<Caller, PeerError> {
        let group = (group > 0).then_some(group);
        Ok(Caller { uid, group })
    }

    /// Returns the unit of control groups 7 and 8.
    fn unit_of(group: u64) -> Option<UnitName> {
        let name = match group {
            7 => "sink.service",
            8 => "cron.service",
            _ => return None,
        };
        UnitName::parse(name).ok()
    }

    #[test]
    fn every_demand_has_to_be_met_and_what_is_unknown_meets_none() {
        for (users, units, caller, admitted) in [
            (&[][..], &[][..], Err(PeerError::Unavailable), true),
            (&[5], &[], seen(5, 0), true),
            (&[4, 5], &[], seen(5, 9), true),
            (&[5], &[], seen(0, 7), false),
            (&[0], &[], Err(PeerError::Closed), false),
            (&[OVERFLOW_UID], &[], seen(OVERFLOW_UID, 7), false),
            (&[], &["sink.service"], seen(1, 7), true),
            (&[], &["sink.service"], seen(OVERFLOW_UID, 7), true),
            (&[], &["sink.service"], seen(1, 8), false),
            (&[], &["sink.service"], seen(1, 9), false),
            (&[], &["sink.service"], seen(1, 0), false),
            (&[], &["sink.service"], Err(PeerError::NotFound), false),
            (&[5], &["sink.service"], seen(5, 7), true),
            (&[5], &["sink.service"], seen(5, 8), false),
            (&[5], &["sink.service"], seen(4, 7), false),
        ] {
            let verdict = admit(&callers(users, units), caller, unit_of);
            assert_eq!(verdict.is_ok(), admitted, "{users:?} {units:?} {caller:?}");
        }
    }

    #[test]
    fn a_unit_is_looked_up_only_where_it_matters() {
        let no = |_: u64| -> Option<UnitName> { panic!("nobody has asked for the unit") };
        assert!(admit(&callers(&[], &[]), seen(5, 7), no).is_ok());
        assert!(admit(&callers(&[5], &[]), seen(5, 7), no).is_ok());
    }

    #[test]
    fn whoever_is_refused_is_described() {
        let refused = |caller| {
            admit(&callers(&[5], &["sink.service"]), caller, unit_of).unwrap_err().to_string()
        };
        assert_eq!(refused(seen(5, 8)), "user 5 in cron.service");
        assert_eq!(refused(seen(4, 0)), "user 4 in no unit that roletap can see");
        assert!(refused(seen(OVERFLOW_UID, 7)).contains("cannot name"));
        assert!(refused(Err(PeerError::NotFound)).contains("another network namespace"));
    }
}
