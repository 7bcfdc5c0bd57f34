"""Lance: one dataset for each bucket, appended to; its object store takes credentials from the AWS SDK for Rust."""

from importlib.metadata import version

import lance
import pyarrow

import protocol

STORE = {"aws_endpoint": protocol.ENDPOINT, "aws_region": protocol.REGION, "allow_http": "true"}


class Lance:
    def __init__(self):
        self.datasets = {}

    def write(self, bucket, key, text):
        rows = pyarrow.table({"key": [key], "text": [text]})
        if bucket in self.datasets:
            self.datasets[bucket].insert(rows)
        else:
            address = f"s3://{bucket}/{protocol.PREFIX}/dataset.lance"
            self.datasets[bucket] = lance.write_dataset(rows, address, mode="overwrite", storage_options=STORE)

    def read(self, bucket, key):
        return self.datasets[bucket].to_table(filter=f"key = '{key}'")["text"][0].as_py()


protocol.live(f"pylance {version('pylance')}", Lance)
