//! Where credentials come from.

use std::future::Future;

use crate::credentials::Credentials;
use crate::failure::IssueError;
use crate::role::Role;

/// Issues credentials for a role: one attempt, bounded in time, without retries of its own.
pub trait Issuer: Send + Sync + 'static {
    /// Gets ready what an attempt needs beside STS, bounded in time. Happens before the role has its turn, so that one
    /// that waits for its source keeps no other from STS.
    fn prepare(&self, _: &Role) -> impl Future<Output = Result<(), IssueError>> + Send {
        async { Ok(()) }
    }

    /// One attempt.
    fn issue(&self, role: &Role) -> impl Future<Output = Result<Credentials, IssueError>> + Send;
}
