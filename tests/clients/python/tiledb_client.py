"""TileDB: its file system, on the AWS SDK for C++."""

import tiledb

import protocol


class TileDb:
    def __init__(self):
        scheme, _, host = protocol.ENDPOINT.partition("://")
        self.files = tiledb.VFS({
            "vfs.s3.endpoint_override": host,
            "vfs.s3.scheme": scheme,
            "vfs.s3.use_virtual_addressing": "false",
            "vfs.s3.region": protocol.REGION,
        })

    def write(self, bucket, key, text):
        with self.files.open(f"s3://{bucket}/{key}", "wb") as file:
            file.write(text.encode())

    def read(self, bucket, key):
        with self.files.open(f"s3://{bucket}/{key}", "rb") as file:
            return file.read().decode()


protocol.live(f"tiledb {tiledb.__version__}", TileDb)
