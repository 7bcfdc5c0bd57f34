//! The daemon as its operator sees it.

use std::net::TcpStream;

use serde_json::Value;

use super::{Answer, Connection, Daemon, metric_in, request};

impl Daemon {
    pub(crate) fn admin(&self, path: &str) -> Answer {
        self.admin_with("GET", path)
    }

    pub(crate) fn admin_with(&self, method: &str, path: &str) -> Answer {
        let request = request(self.admin.address, method, path, &[]);
        let mut connection = Connection::to(self.admin.address);
        connection.send(request.as_bytes());
        connection.answer()
    }

    pub(super) fn admin_if_up(&self, path: &str) -> Option<Answer> {
        TcpStream::connect(self.admin.address).is_ok().then(|| self.admin(path))
    }

    /// `/roles`
    pub(crate) fn overview(&self) -> Value {
        self.admin("/roles").json()
    }

    /// One role of `/roles`; null if it is not there.
    pub(crate) fn role(&self, name: &str) -> Value {
        let overview = self.overview();
        let roles = overview["roles"].as_array().cloned().unwrap_or_default();
        roles.into_iter().find(|role| role["name"] == name).unwrap_or_default()
    }

    /// One role, once this holds of it.
    pub(crate) fn role_when(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        self.wait_until(&format!("{name} {what}"), |daemon| {
            let role = daemon.role(name);
            if holds(&role) { Ok(role) } else { Err(role.to_string()) }
        })
    }

    /// One role, once its last error is of this class.
    pub(crate) fn failed(&self, name: &str, class: &str) -> Value {
        self.role_when(name, &format!("fails as {class}"), |role| {
            role["last_error"]["class"] == class
        })
    }

    /// The sum of the series of this name that have these labels; `None` where there is none.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        metric_in(&self.admin("/metrics").text(), name, labels)
    }
}
