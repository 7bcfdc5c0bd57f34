"""boto3: the default credential chain, nothing configured but the endpoint of AWS itself."""

import boto3
import botocore

import story

s3 = boto3.client("s3")
sts = boto3.client("sts")

story.live(
    f"boto3 {boto3.__version__}, botocore {botocore.__version__}",
    write=lambda bucket, key, text: s3.put_object(Bucket=bucket, Key=key, Body=text.encode()),
    read=lambda bucket, key: s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode(),
    whoami=lambda: sts.get_caller_identity()["Arn"],
)
