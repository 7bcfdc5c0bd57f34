//! Facts that many readers need: the host, and those keys of `[sts]` that decide about roles.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::region;
use crate::config::Host;
use crate::config::toml::{Located, Section};
use crate::role::InvalidValue;

pub(crate) struct Context<'h> {
    pub(crate) host: &'h dyn Host,
    pub(crate) region: Option<Located<String>>,
    /// There is an `endpoint_url`, behind which may not be AWS.
    pub(crate) custom_endpoint: bool,
    pub(crate) unsafe_short_sessions: bool,
    /// Users that were looked up, so that a thousand roles ask once.
    users: RefCell<BTreeMap<String, Result<u32, InvalidValue>>>,
}

impl<'h> Context<'h> {
    /// Reads the facts of `[sts]`; of a main file that is not sound nothing is held against the roles of other files.
    pub(crate) fn read(host: &'h dyn Host, sts: &Section<'_>, main_is_sound: bool) -> Self {
        let custom_endpoint = sts.has("endpoint_url");
        let unsafe_short_sessions = sts.flag("unsafe_short_sessions");
        Self {
            host,
            region: sts.text_at("region", |text| region::region(text, custom_endpoint)),
            custom_endpoint: custom_endpoint || !main_is_sound,
            unsafe_short_sessions: unsafe_short_sessions || !main_is_sound,
            users: RefCell::default(),
        }
    }

    /// The number of a user, looked up once.
    pub(crate) fn user(
        &self,
        name: &str,
        look_up: impl FnOnce(&dyn Host) -> Result<u32, InvalidValue>,
    ) -> Result<u32, InvalidValue> {
        let mut users = self.users.borrow_mut();
        users.entry(name.to_owned()).or_insert_with(|| look_up(self.host)).clone()
    }
}
