"""pyarrow: the C++ SDK's default credential chain."""

import pyarrow
from pyarrow import fs

import story

s3 = fs.S3FileSystem(endpoint_override=story.ENDPOINT, region=story.REGION)


def write(bucket, key, text):
    with s3.open_output_stream(f"{bucket}/{key}") as stream:
        stream.write(text.encode())


def read(bucket, key):
    with s3.open_input_stream(f"{bucket}/{key}") as stream:
        return stream.read().decode()


story.live(f"pyarrow {pyarrow.__version__}", write, read)
