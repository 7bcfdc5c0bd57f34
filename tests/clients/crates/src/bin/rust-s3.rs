//! rust-s3 and aws-creds: the default chain of `Credentials`, renewed by the bucket itself.

use roletap_crates_clients::{Outcome, Store, live, told};
use s3::{Bucket, Region, creds::Credentials};

struct Buckets {
    ours: Box<Bucket>,
    other: Box<Bucket>,
}

impl Buckets {
    fn of(&self, bucket: &str) -> &Bucket {
        if bucket == told("STORY_BUCKET") {
            &self.ours
        } else {
            &self.other
        }
    }
}

impl Store for Buckets {
    async fn write(&self, bucket: &str, key: &str, text: &str) -> Outcome {
        self.of(bucket).put_object(key, text.as_bytes()).await?;
        Ok(())
    }

    async fn read(&self, bucket: &str, key: &str) -> Outcome<String> {
        Ok(self.of(bucket).get_object(key).await?.to_string()?)
    }
}

fn bucket(name: &str) -> Outcome<Box<Bucket>> {
    let region = Region::Custom {
        region: told("AWS_REGION"),
        endpoint: told("STORY_ENDPOINT"),
    };
    Ok(Bucket::new(&told(name), region, Credentials::default()?)?.with_path_style())
}

#[tokio::main(worker_threads = 1)]
async fn main() -> Outcome {
    live("rust-s3 0.38.0, aws-creds 0.40.0", async || {
        Ok(Buckets {
            ours: bucket("STORY_BUCKET")?,
            other: bucket("STORY_OTHER_BUCKET")?,
        })
    })
    .await
}
