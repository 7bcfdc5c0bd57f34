"""boto3: the default credential chain, nothing configured but the endpoint of AWS itself."""

import boto3
import botocore

import protocol


class Boto3:
    def __init__(self):
        self.s3 = boto3.client("s3", endpoint_url=protocol.ENDPOINT)  # that of Debian does not know AWS_ENDPOINT_URL

    def write(self, bucket, key, text):
        self.s3.put_object(Bucket=bucket, Key=key, Body=text.encode())

    def read(self, bucket, key):
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()


protocol.live(f"boto3 {boto3.__version__}, botocore {botocore.__version__}", Boto3)
