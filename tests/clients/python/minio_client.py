"""minio-py: `IamAwsProvider`, which finds the endpoint in the environment."""

import io
import urllib.parse

import minio
from minio.credentials import IamAwsProvider

import protocol


class Minio:
    def __init__(self):
        host = urllib.parse.urlsplit(protocol.ENDPOINT).netloc
        self.s3 = minio.Minio(host, secure=False, region=protocol.REGION, credentials=IamAwsProvider())

    def write(self, bucket, key, text):
        body = text.encode()
        self.s3.put_object(bucket_name=bucket, object_name=key, data=io.BytesIO(body), length=len(body))

    def read(self, bucket, key):
        answer = self.s3.get_object(bucket_name=bucket, object_name=key)
        try:
            return answer.read().decode()
        finally:
            answer.close()
            answer.release_conn()


protocol.live(f"minio {minio.__version__}", Minio)
