//! What the fake account knows: roles, base identities, everything ever issued. Decides; does no I/O.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};

use super::fault::Fault;
use super::request::Received;

/// Credentials that were put on the wire, whole or not.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Counted from 1 over the life of the fake.
    pub number: u64,
    /// `ASIA` and sixteen letters, different for each issue.
    pub access_key_id: String,
    /// Forty random characters, as at AWS.
    pub secret_access_key: String,
    /// About 900 characters.
    pub session_token: String,
    /// The role's ARN as requested.
    pub role_arn: String,
    /// The session's ARN, as `GetCallerIdentity` answers for this key.
    pub session_arn: String,
    /// `ExternalId` as requested.
    pub external_id: Option<String>,
    /// By the fake's clock.
    pub issued_at: Timestamp,
    /// When the fake stops accepting them, whatever `Expiration` a script made it say.
    pub expires_at: Timestamp,
}

/// The account, its roles, and who may ask.
pub(super) struct World {
    pub(super) seed: u64,
    /// Seconds by which the service's own clock is ahead of the host's.
    pub(super) clock_shift_seconds: i64,
    pub(super) base_arn: String,
    /// Empty: any key is a base key.
    pub(super) base_keys: HashSet<String>,
    pub(super) region: Option<String>,
    pub(super) deny_unknown: bool,
    pub(super) minimum_duration_seconds: u32,
    pub(super) roles: HashMap<String, RoleRules>,
    pub(super) issued: Vec<Issued>,
    issue_of_key: HashMap<String, usize>,
}

/// The demands of one role.
#[derive(Clone, Default)]
pub(super) struct RoleRules {
    pub(super) external_id: Option<String>,
    pub(super) max_session_seconds: Option<u32>,
    pub(super) denied: bool,
}

/// A right answer's content, before anything is made wrong with it.
pub(super) enum Judgement {
    Issue { session_name: String, lifetime_seconds: u32 },
    Identity { arn: String },
    Refuse(Fault),
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            clock_shift_seconds: 0,
            base_arn: "arn:aws:iam::999988887777:user/roletap-base".to_owned(),
            base_keys: HashSet::new(),
            region: None,
            deny_unknown: false,
            minimum_duration_seconds: 1,
            roles: HashMap::new(),
            issued: Vec::new(),
            issue_of_key: HashMap::new(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::now() + SignedDuration::from_secs(self.clock_shift_seconds)
    }

    /// The ARN of the request's signer.
    pub(super) fn caller_arn(&self, request: &Received) -> String {
        self.signer(request)
            .map_or_else(|| self.base_arn.clone(), |issued| issued.session_arn.clone())
    }

    /// The answer of AWS, were nothing scripted.
    pub(super) fn judge(&self, request: &Received) -> Judgement {
        let refusal = match request.action.as_str() {
            "AssumeRole" => self.refuse_signature(request).or_else(|| self.refuse_role(request)),
            "AssumeRoleWithWebIdentity" => {
                refuse_web_identity(request).or_else(|| self.refuse_role(request))
            }
            "GetCallerIdentity" => self.refuse_signature(request),
            other => Some(Fault::error(
                400,
                "InvalidAction",
                &format!("Could not find operation {other} for version 2011-06-15"),
            )),
        };
        match refusal {
            Some(fault) => Judgement::Refuse(fault),
            None if request.action == "GetCallerIdentity" => {
                Judgement::Identity { arn: self.caller_arn(request) }
            }
            None => Judgement::Issue {
                session_name: request.session_name.clone().unwrap_or_default(),
                lifetime_seconds: request.duration_seconds.unwrap_or(3600),
            },
        }
    }

    /// Makes new credentials and remembers them.
    pub(super) fn issue(
        &mut self,
        request: &Received,
        session_name: &str,
        lifetime: SignedDuration,
        token_bytes: usize,
    ) -> Issued {
        let role_arn = request.role_arn.as_deref().unwrap_or_default();
        let index = self.issued.len();
        let number = index as u64 + 1;
        let mut random =
            fastrand::Rng::with_seed(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number);
        let issued = Issued {
            number,
            access_key_id: format!("ASIA{}{}", base32(self.seed, 4), base32(number, 12)),
            secret_access_key: base64_text(&mut random, 40),
            // Real tokens begin like this, and redaction rules look for it.
            session_token: format!(
                "IQoJb3JpZ2luX2Vj{}",
                base64_text(&mut random, token_bytes.saturating_sub(16))
            ),
            role_arn: role_arn.to_owned(),
            session_arn: session_arn(role_arn, session_name),
            external_id: request.external_id.clone(),
            issued_at: self.now(),
            expires_at: self.now() + lifetime,
        };
        self.issue_of_key.insert(issued.access_key_id.clone(), index);
        self.issued.push(issued.clone());
        issued
    }

    fn signer(&self, request: &Received) -> Option<&Issued> {
        self.issue_of_key.get(request.access_key_id.as_deref()?).map(|&index| &self.issued[index])
    }

    fn refuse_signature(&self, request: &Received) -> Option<Fault> {
        if let Some(region) = &self.region {
            let refusal = self.refuse_scope(request, region);
            if refusal.is_some() {
                return refusal;
            }
        }
        match self.signer(request) {
            Some(issued) if request.security_token.as_ref() != Some(&issued.session_token) => {
                Some(invalid_token())
            }
            Some(issued) if issued.expires_at <= self.now() => Some(Fault::error(
                403,
                "ExpiredToken",
                "The security token included in the request is expired",
            )),
            Some(_) => None,
            None if self.base_keys.is_empty() => None,
            None => {
                let known =
                    request.access_key_id.as_ref().is_some_and(|key| self.base_keys.contains(key));
                (!known).then(invalid_token)
            }
        }
    }

    fn refuse_scope(&self, request: &Received, region: &str) -> Option<Fault> {
        let mismatch = |message: &str| Some(Fault::error(403, "SignatureDoesNotMatch", message));
        if request.access_key_id.is_none() {
            return Some(Fault::error(
                403,
                "MissingAuthenticationToken",
                "Request is missing Authentication Token",
            ));
        }
        if request.service.as_deref() != Some("sts") {
            return mismatch("Credential should be scoped to correct service: 'sts'. ");
        }
        if request.region.as_deref() != Some(region) {
            return mismatch("Credential should be scoped to a valid region. ");
        }
        let signed_date = request.signed_date.as_deref().unwrap_or_default();
        let Some(signed) = parse_signed_date(signed_date) else {
            return Some(Fault::error(
                400,
                "IncompleteSignature",
                "Date must be in ISO-8601 'basic format'.",
            ));
        };
        let now = self.now();
        let window = SignedDuration::from_mins(5);
        let basic = |at: Timestamp| at.strftime("%Y%m%dT%H%M%SZ").to_string();
        if signed < now - window {
            let limit = basic(now - window);
            mismatch(&format!(
                "Signature expired: {signed_date} is now earlier than {limit} ({} - 5 min.)",
                basic(now)
            ))
        } else if signed > now + window {
            let limit = basic(now + window);
            mismatch(&format!(
                "Signature not yet current: {signed_date} is still later than {limit} ({} + 5 min.)",
                basic(now)
            ))
        } else {
            None
        }
    }

    fn refuse_role(&self, request: &Received) -> Option<Fault> {
        let invalid = |message: &str| Some(Fault::error(400, "ValidationError", message));
        let Some(role_arn) = &request.role_arn else {
            return invalid(
                "1 validation error detected: Value null at 'roleArn' failed to satisfy constraint: Member must not be null",
            );
        };
        if request.session_name.as_deref().is_none_or(|name| name.len() < 2 || name.len() > 64) {
            return invalid(
                "1 validation error detected: Value at 'roleSessionName' failed to satisfy constraint: Member must have length less than or equal to 64",
            );
        }
        let rules = self.roles.get(role_arn);
        let trusted = match rules {
            Some(rules) => {
                let id_matches =
                    rules.external_id.is_none() || rules.external_id == request.external_id;
                id_matches && !rules.denied
            }
            None => !self.deny_unknown,
        };
        if !trusted {
            return Some(Fault::access_denied());
        }
        let asked = request.duration_seconds.unwrap_or(3600);
        if asked < self.minimum_duration_seconds {
            return invalid(&format!(
                "1 validation error detected: Value '{asked}' at 'durationSeconds' failed to satisfy constraint: \
                 Member must have value greater than or equal to {}",
                self.minimum_duration_seconds
            ));
        }
        if rules.and_then(|rules| rules.max_session_seconds).is_some_and(|max| asked > max) {
            return invalid(
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            );
        }
        if asked > 3600 && request.action == "AssumeRole" && self.signer(request).is_some() {
            return invalid(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
            );
        }
        None
    }
}

fn refuse_web_identity(request: &Received) -> Option<Fault> {
    request.web_identity_token.as_deref().is_none_or(str::is_empty).then(|| {
        Fault::error(400, "InvalidIdentityToken", "The ID Token provided is not a valid JWT.")
    })
}

fn invalid_token() -> Fault {
    Fault::error(
        403,
        "InvalidClientTokenId",
        "The security token included in the request is invalid",
    )
}

/// `arn:aws:iam::1:role/path/name` and a session name make `arn:aws:sts::1:assumed-role/name/session`: the path is lost.
fn session_arn(role_arn: &str, session_name: &str) -> String {
    let partition = role_arn.split(':').nth(1).unwrap_or("aws");
    let name = role_arn.rsplit('/').next().unwrap_or(role_arn);
    format!("arn:{partition}:sts::{}:assumed-role/{name}/{session_name}", account_of(role_arn))
}

/// The account in an ARN.
pub(super) fn account_of(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

/// A role's unique id, as in `AssumedRoleId`: the same for the same name.
pub(super) fn role_id(arn: &str) -> String {
    let name = arn.split('/').rev().nth(usize::from(arn.contains(":assumed-role/"))).unwrap_or(arn);
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("AROA{}", base32(hash, 17))
}

fn parse_signed_date(text: &str) -> Option<Timestamp> {
    let civil = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    jiff::tz::Offset::UTC.to_timestamp(civil).ok()
}

fn base32(mut number: u64, digits: usize) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = vec![b'A'; digits];
    for digit in text.iter_mut().rev() {
        *digit = ALPHABET[(number % 32) as usize];
        number /= 32;
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn base64_text(random: &mut fastrand::Rng, length: usize) -> String {
    let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
    let mut text = STANDARD.encode(bytes);
    text.truncate(length);
    text
}
