"""pyarrow: the C++ SDK's default credential chain."""

import pyarrow
from pyarrow import fs

import protocol


class Arrow:
    def __init__(self):
        self.s3 = fs.S3FileSystem(endpoint_override=protocol.ENDPOINT, region=protocol.REGION)

    def write(self, bucket, key, text):
        with self.s3.open_output_stream(f"{bucket}/{key}") as stream:
            stream.write(text.encode())

    def read(self, bucket, key):
        with self.s3.open_input_stream(f"{bucket}/{key}") as stream:
            return stream.read().decode()


protocol.live(f"pyarrow {pyarrow.__version__}", Arrow)
