//! The daemon as workloads see it.

use std::net::SocketAddr;

use serde_json::Value;

use super::{Answer, Connection, Daemon, request, text};

impl Daemon {
    pub(crate) fn vend_address(&self) -> SocketAddr {
        self.vend.address
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin.address
    }

    /// The role's token, as it lies in its file.
    pub(crate) fn token(&self, role: &str) -> String {
        std::fs::read_to_string(self.token_path(role)).expect("a token file")
    }

    /// As an SDK asks for a role.
    pub(crate) fn get(&self, role: &str) -> Answer {
        self.get_with(role, &self.token(role))
    }

    /// The same with this `Authorization`.
    pub(crate) fn get_with(&self, role: &str, authorization: &str) -> Answer {
        self.ask("GET", &format!("/v1/credentials/{role}"), &[("Authorization", authorization)])
    }

    /// A request to the credentials endpoint. `Host` is ours unless it is among the headers.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = request(self.vend.address, method, path, headers);
        self.raw(request.as_bytes())
    }

    /// These bytes on a connection of their own, and the one answer to them.
    pub(crate) fn raw(&self, request: &[u8]) -> Answer {
        let mut connection = self.connect();
        connection.send(request);
        connection.answer()
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::to(self.vend.address)
    }

    /// Waits until the role's credentials are vended.
    pub(crate) fn vended(&self, role: &str) -> Value {
        self.wait_until("credentials are vended", |daemon| {
            let answer = daemon.get(role);
            if answer.status == 200 {
                Ok(answer.json())
            } else {
                Err(format!("{} {}", answer.status, answer.text()))
            }
        })
    }

    /// The access key id that is vended.
    pub(crate) fn key(&self, role: &str) -> String {
        text(&self.vended(role)["AccessKeyId"])
    }
}
