"""DataFusion: one session, one registered store for each bucket; object_store's own credential chain."""

import datafusion
from datafusion.object_store import AmazonS3

import protocol


class DataFusion:
    def __init__(self):
        self.session = datafusion.SessionContext()
        for bucket in (protocol.BUCKET, protocol.OTHER_BUCKET):
            store = AmazonS3(bucket_name=bucket, region=protocol.REGION, endpoint=protocol.ENDPOINT, allow_http=True)
            self.session.register_object_store("s3://", store, bucket)

    def write(self, bucket, key, text):
        self.session.from_pydict({"text": [text]}).write_parquet(f"s3://{bucket}/{key}.parquet")

    def read(self, bucket, key):
        return self.session.read_parquet(f"s3://{bucket}/{key}.parquet").to_pydict()["text"][0]


protocol.live(f"datafusion {datafusion.__version__}", DataFusion)
