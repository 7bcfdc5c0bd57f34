"""TensorStore: one key-value store for each bucket; credentials by the CRT.

Of `aws_credentials` it says `ecs`, the endpoint of the environment and nothing else. The default ends with anonymous
access, which TensorStore caches for good: one failure, and it would never ask for credentials again.
"""

from importlib.metadata import version

import tensorstore

import protocol


class Tensorstore:
    def __init__(self):
        self.stores = {bucket: self.open(bucket) for bucket in (protocol.BUCKET, protocol.OTHER_BUCKET)}

    @staticmethod
    def open(bucket):
        spec = {
            "driver": "s3",
            "bucket": bucket,
            "endpoint": protocol.ENDPOINT,
            "aws_region": protocol.REGION,
            "aws_credentials": {"type": "ecs"},
        }
        return tensorstore.KvStore.open(spec).result()

    def write(self, bucket, key, text):
        self.stores[bucket].write(key, text.encode()).result()

    def read(self, bucket, key):
        return self.stores[bucket].read(key).result().value.decode()


protocol.live(f"tensorstore {version('tensorstore')}", Tensorstore)
