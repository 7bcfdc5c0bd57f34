//! object_store, as its own documentation has it: everything from the environment.

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ObjectStoreExt, path::Path};
use roletap_crates_clients::{Outcome, Store, live, told};

struct Stores {
    ours: AmazonS3,
    other: AmazonS3,
}

impl Stores {
    fn of(&self, bucket: &str) -> &AmazonS3 {
        if bucket == told("STORY_BUCKET") {
            &self.ours
        } else {
            &self.other
        }
    }
}

impl Store for Stores {
    async fn write(&self, bucket: &str, key: &str, text: &str) -> Outcome {
        let store = self.of(bucket);
        store.put(&Path::from(key), text.to_owned().into()).await?;
        Ok(())
    }

    async fn read(&self, bucket: &str, key: &str) -> Outcome<String> {
        let got = self.of(bucket).get(&Path::from(key)).await?;
        Ok(String::from_utf8(got.bytes().await?.to_vec())?)
    }
}

fn store(bucket: &str) -> Outcome<AmazonS3> {
    let builder = AmazonS3Builder::from_env().with_allow_http(true);
    Ok(builder.with_bucket_name(told(bucket)).build()?)
}

#[tokio::main(worker_threads = 1)]
async fn main() -> Outcome {
    live("object_store 0.14.2", async || {
        Ok(Stores {
            ours: store("STORY_BUCKET")?,
            other: store("STORY_OTHER_BUCKET")?,
        })
    })
    .await
}
