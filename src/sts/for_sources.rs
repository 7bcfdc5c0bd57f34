//! What sources need of STS: a token traded, an identity told, and those called that wait for a source.

use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_smithy_async::time::SharedTimeSource;

use super::classify::Told;
use super::endpoints::Endpoints;
use super::identity::caller_identity;
use super::{configured, web_identity};
use crate::clock::Skew;
use crate::config::Sts;
use crate::failure::explain::class_of_code;
use crate::failure::{Class, IssueError};
use crate::metrics::Metrics;
use crate::role::{Base, CallerIdentity, Source, WebIdentity};
use crate::slots::Slots;
use crate::source::{Boxed, Outside, SourceError, Token};

/// The STS of an issuer, as sources see it.
#[derive(Debug)]
pub struct ForSources {
    pub(super) sts: Sts,
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) slots: Arc<Slots>,
    pub(super) clock: SharedTimeSource,
    pub(super) skew: Arc<Skew>,
    pub(super) metrics: Arc<Metrics>,
}

impl ForSources {
    /// For commands that run without a daemon: nobody waits for its sources.
    pub fn alone(sts: &Sts, clock: SharedTimeSource) -> Result<Arc<dyn Outside>, SourceError> {
        let metrics = Metrics::new().map_err(|error| SourceError::new(error.to_string()))?;
        let config = configured(sts, clock.clone());
        Ok(Arc::new(Self {
            sts: sts.clone(),
            endpoints: Arc::new(Endpoints::new(sts, &config)),
            slots: Arc::default(),
            clock,
            skew: Arc::default(),
            metrics: Arc::new(metrics),
        }))
    }

    async fn traded(
        &self,
        token: Token,
        identity: &WebIdentity,
    ) -> Result<Credentials, SourceError> {
        let Some((chosen, endpoint)) = self.endpoints.choose() else {
            return Err(SourceError::new("there is no region to ask in"));
        };
        let sent =
            web_identity::request(endpoint, &token, &identity.role_arn, &identity.session_name)
                .send()
                .await;
        let outcome = match sent {
            Err(error) => {
                let told = Told::of(
                    &error,
                    &endpoint.name,
                    self.sts.attempt_timeout,
                    &self.skew,
                    &web_identity::private(&token),
                )
                .about(&web_identity::described(&token));
                Err(told)
            }
            Ok(answer) => Ok(answer),
        };
        let class = outcome.as_ref().err().map(|told| told.class);
        self.metrics.sts_request(web_identity::OPERATION, &endpoint.region, class);
        let outcome = outcome.map_err(|told| {
            let failure = told.failure(&endpoint.region, None);
            IssueError {
                class: told.class,
                code: failure.code.map(str::to_owned),
                status: failure.status,
                request_id: failure.request_id.map(str::to_owned),
                what: told.what.clone(),
                advice: Box::default(),
                retry_after: failure.retry_after,
            }
        });
        self.endpoints.heed(chosen, &outcome, &self.metrics);
        let answer = outcome.map_err(|error| SourceError::new(error.what))?;
        let granted = answer.credentials();
        let whole = granted.filter(|granted| {
            let parts =
                [granted.access_key_id(), granted.secret_access_key(), granted.session_token()];
            // The SDK fills in what an answer left out.
            parts.iter().all(|part| !part.is_empty()) && granted.expiration().secs() > 0
        });
        let Some(granted) = whole else {
            let what = format!("unusable answer from {}: it is not complete", endpoint.name);
            return Err(SourceError::new(what));
        };
        Ok(Credentials::new(
            granted.access_key_id(),
            granted.secret_access_key(),
            Some(granted.session_token().to_owned()),
            std::time::SystemTime::try_from(*granted.expiration()).ok(),
            "web identity",
        ))
    }
}

impl Outside for ForSources {
    fn region(&self) -> &str {
        &self.sts.region
    }

    fn trade<'a>(
        &'a self,
        token: Token,
        identity: &'a WebIdentity,
    ) -> Boxed<'a, Result<Credentials, SourceError>> {
        Box::pin(self.traded(token, identity))
    }

    fn identify(&self, credentials: Credentials) -> Boxed<'_, Option<CallerIdentity>> {
        Box::pin(async {
            let asked = caller_identity(&self.sts, credentials, self.clock.clone());
            let patience = self.sts.attempt_timeout;
            let answer = tokio::time::timeout(patience, asked).await;
            let class = match &answer {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => error.code.as_deref().and_then(class_of_code),
                Err(_) => Some(Class::Network),
            };
            self.metrics.sts_request("GetCallerIdentity", &self.sts.region, class);
            answer.ok()?.ok()
        })
    }

    fn recovered(&self, source: &Source) {
        for slot in self.slots.load().slots.values() {
            let Base::Source(base) = &slot.role.request.base else {
                continue;
            };
            if base.name == source.name && slot.fails_for_want_of_a_source() {
                slot.hurry();
            }
        }
    }
}
