"""polars: object_store's own credential chain. (With boto3 importable, polars would ask boto3 unless told not to.)"""

import polars

import protocol

STORE = {
    "storage_options": {"aws_endpoint_url": protocol.ENDPOINT, "aws_region": protocol.REGION, "aws_allow_http": "true"},
    "credential_provider": None,
}


class Polars:
    def write(self, bucket, key, text):
        polars.DataFrame({"text": [text]}).write_parquet(f"s3://{bucket}/{key}", **STORE)

    def read(self, bucket, key):
        return polars.read_parquet(f"s3://{bucket}/{key}", **STORE)["text"][0]


protocol.live(f"polars {polars.__version__}", Polars)
