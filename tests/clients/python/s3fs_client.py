"""s3fs, the S3 of fsspec: aiobotocore under a filesystem, with the retries of both."""

import s3fs

import protocol


class S3fs:
    def __init__(self):
        # Without caches of its own, so that every line reaches S3.
        self.s3 = s3fs.S3FileSystem(endpoint_url=protocol.ENDPOINT, use_listings_cache=False)

    def write(self, bucket, key, text):
        self.s3.pipe_file(f"{bucket}/{key}", text.encode())

    def read(self, bucket, key):
        return self.s3.cat_file(f"{bucket}/{key}").decode()


protocol.live(f"s3fs {s3fs.__version__}", S3fs)
