//! What a sink does in a bucket, and nothing beside.

use super::document::{Condition, Statement};
use crate::role::{InvalidValue, check_characters, display, refuse};

/// Put, get, delete, with the versions of objects, and what large uploads need to be taken up again or given up.
const WRITE: [&str; 7] = [
    "s3:PutObject",
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
];
const READ: [&str; 2] = ["s3:GetObject", "s3:GetObjectVersion"];

/// A bucket, how much of it, and what may be done there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// The name of the bucket.
    pub name: BucketName,
    /// Below what; all of it without one.
    pub prefix: Option<Prefix>,
    /// The key that its objects are encrypted with, where that is one of the owner's.
    pub kms_key: Option<KmsKey>,
    /// The allowed operations.
    pub access: Access,
}

/// The operations that a role may do in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read, write and delete, as a sink does.
    ReadWrite,
    /// List and read, as a source does.
    ReadOnly,
}

impl Bucket {
    /// `GetBucketLocation` carries no prefix: below the condition of `ListBucket` it would never be allowed.
    pub(super) fn statements(&self, partition: &str) -> Vec<Statement> {
        let bucket = format!("arn:{partition}:s3:::{}", self.name);
        let objects = match &self.prefix {
            Some(prefix) => format!("{bucket}/{prefix}/*"),
            None => format!("{bucket}/*"),
        };
        let (sid, actions, key_actions): (_, &[_], &[_]) = match self.access {
            Access::ReadWrite => ("Objects", &WRITE, &["kms:GenerateDataKey", "kms:Decrypt"]),
            Access::ReadOnly => ("ReadObjects", &READ, &["kms:Decrypt"]),
        };
        let mut list = Statement::allow("List", &["s3:ListBucket"]).on(&[&bucket]);
        if let Some(prefix) = &self.prefix {
            let below = [format!("{prefix}/"), format!("{prefix}/*")];
            list = list.when(Condition::like("s3:prefix", &[&below[0], &below[1]]));
        }
        let mut statements = vec![
            Statement::allow(sid, actions).on(&[&objects]),
            list,
            Statement::allow("Location", &["s3:GetBucketLocation"]).on(&[&bucket]),
        ];
        if let Some(key) = &self.kms_key {
            statements.push(Statement::allow("Key", key_actions).on(&[&key.0]));
        }
        statements
    }
}

/// 3 to 63 of `[a-z0-9.-]`: a general purpose bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketName(String);

impl BucketName {
    /// Refuses what S3 refuses, and URLs and ARNs with what to write instead.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        const EXPECTED: &str = "expected 3 to 63 small letters, digits, dots and dashes, a letter or digit at both ends";
        for before in ["s3://", "arn:aws:s3:::"] {
            if let Some(rest) = text.strip_prefix(before) {
                let name = rest.split('/').next().unwrap_or_default();
                return refuse(
                    format!("begins with `{before}`"),
                    format!(
                        "give the name alone, --bucket {name}, and what follows it as --prefix"
                    ),
                );
            }
        }
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
        check_characters(text, allowed, EXPECTED)?;
        if !(3..=63).contains(&text.len()) {
            return refuse(format!("has {} characters", text.len()), EXPECTED);
        }
        if text.starts_with(['.', '-']) || text.ends_with(['.', '-']) || text.contains("..") {
            return refuse("has a dot or a dash where none may be", EXPECTED);
        }
        if text.contains("--") && (text.ends_with("--x-s3") || text.ends_with("-s3alias")) {
            return refuse(
                "is a directory bucket or an access point",
                "their policies are of another kind (s3express:CreateSession, access point ARNs): write those by hand",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

/// The part of the keys before the last slash that all of them share; without that slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// A slash at the end is taken off: it is meant either way. What IAM reads as a pattern is refused.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        let bare = text.strip_suffix('/').unwrap_or(text);
        if bare.is_empty() {
            return refuse("is empty", "leave --prefix out if the whole bucket is meant");
        }
        if bare.starts_with('/') {
            return refuse(
                "begins with a slash",
                "keys do not, unless somebody made them so: leave it out",
            );
        }
        if bare.ends_with('/') || bare.contains("//") {
            return refuse("has an empty step", "remove one slash");
        }
        let other_keys =
            "in a policy that would stand for other keys too: name one prefix without it";
        check_characters(bare, |c| !"*?${}".contains(c) && !c.is_control(), other_keys)?;
        if bare.len() > 1000 {
            return refuse(format!("has {} bytes", bare.len()), "keys have at most 1024");
        }
        Ok(Self(bare.to_owned()))
    }
}

display!(BucketName, Prefix);

/// The ARN of a KMS key, not of an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsKey(String);

impl KmsKey {
    /// A key of `partition`, by its ARN.
    pub fn parse(text: &str, partition: &str) -> Result<Self, InvalidValue> {
        const EXPECTED: &str = "expected arn:PARTITION:kms:REGION:ACCOUNT:key/ID";
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let &["arn", its, "kms", region, account, resource] = parts.as_slice() else {
            return refuse("is not the ARN of a KMS key", EXPECTED);
        };
        if its != partition {
            return refuse(
                format!("is of the partition `{its}`"),
                format!("expected the role's own, `{partition}`"),
            );
        }
        if resource.starts_with("alias/") {
            return refuse(
                "is an alias",
                "a policy does not follow aliases: `aws kms describe-key --key-id ALIAS` shows the key's ARN",
            );
        }
        let id = resource.strip_prefix("key/").unwrap_or_default();
        let is_id = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let digits = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        if !is_id(id) || !is_id(region) || !digits {
            return refuse("is not the ARN of one KMS key", EXPECTED);
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the account that the key belongs to.
    pub fn account_id(&self) -> &str {
        self.0.split(':').nth(4).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_buckets() {
        for good in ["orders", "a.b-c", "0rders1", &"x".repeat(63)] {
            assert!(BucketName::parse(good).is_ok(), "{good}");
        }
        for (bad, what) in [
            ("s3://orders/exports", "begins with `s3://`"),
            ("arn:aws:s3:::orders", "begins with `arn:aws:s3:::`"),
            ("Orders", "holds 'O'"),
            ("or*ers", "holds '*'"),
            ("ab", "has 2 characters"),
            ("-orders", "has a dot or a dash where none may be"),
            ("or..ders", "has a dot or a dash where none may be"),
            ("orders--use1-az4--x-s3", "is a directory bucket or an access point"),
        ] {
            assert_eq!(BucketName::parse(bad).unwrap_err().what, what, "{bad}");
        }
    }

    #[test]
    fn prefixes_are_no_patterns() {
        assert_eq!(Prefix::parse("exports/orders/").unwrap().to_string(), "exports/orders");
        assert_eq!(Prefix::parse("a b/é").unwrap().to_string(), "a b/é");
        for bad in ["", "/", "/exports", "a//b", "a//", "a*", "a?", "${aws:username}", "a\nb"] {
            assert!(Prefix::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn keys_are_of_the_partition_and_no_aliases() {
        let key = "arn:aws-cn:kms:cn-north-1:111122223333:key/0f1e-2d";
        assert_eq!(KmsKey::parse(key, "aws-cn").unwrap().account_id(), "111122223333");
        for (bad, what) in [
            (key, "is of the partition `aws-cn`"),
            ("0f1e-2d", "is not the ARN of a KMS key"),
            ("arn:aws:kms:eu-central-1:111122223333:alias/orders", "is an alias"),
            ("arn:aws:kms:eu-central-1:111122223333:key/*", "is not the ARN of one KMS key"),
            ("arn:aws:kms:*:111122223333:key/a", "is not the ARN of one KMS key"),
        ] {
            assert_eq!(KmsKey::parse(bad, "aws").unwrap_err().what, what, "{bad}");
        }
    }
}
