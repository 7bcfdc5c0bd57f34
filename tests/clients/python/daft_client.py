"""Daft: Parquet files; its own S3 client on the AWS SDK for Rust."""

import daft
from daft.io import IOConfig, S3Config

import protocol


class Daft:
    def __init__(self):
        # It tries 25 times by default, for minutes; that is no more than patience.
        self.settings = IOConfig(s3=S3Config(endpoint_url=protocol.ENDPOINT, region_name=protocol.REGION, use_ssl=False, num_tries=3))

    def write(self, bucket, key, text):
        daft.from_pydict({"text": [text]}).write_parquet(f"s3://{bucket}/{key}", write_mode="append", io_config=self.settings)

    def read(self, bucket, key):
        found = daft.read_parquet(f"s3://{bucket}/{key}/*.parquet", io_config=self.settings)
        return found.to_pydict()["text"][0]


protocol.live(f"daft {daft.__version__}", Daft)
