"""polars: object_store's own credential chain. (With boto3 importable, polars would ask boto3 unless told not to.)"""

import polars

import story

STORE = {
    "storage_options": {"aws_endpoint_url": story.ENDPOINT, "aws_region": story.REGION, "aws_allow_http": "true"},
    "credential_provider": None,
}


def write(bucket, key, text):
    polars.DataFrame({"text": [text]}).write_parquet(f"s3://{bucket}/{key}", **STORE)


def read(bucket, key):
    return polars.read_parquet(f"s3://{bucket}/{key}", **STORE)["text"][0]


story.live(f"polars {polars.__version__}", write, read)
