"""The negative control, and the clock of the story: boto3 with a copy of vended credentials that nothing refreshes.

S3 must accept them at first and refuse them as expired later. If it never does, nothing that the other clients
show about refreshing means anything.
"""

import datetime
import json
import sys
import time

import boto3
import botocore
from botocore.exceptions import ClientError

import story

vended = json.loads(sys.stdin.readline())
expiration = datetime.datetime.fromisoformat(vended["Expiration"])
s3 = boto3.client(
    "s3",
    aws_access_key_id=vended["AccessKeyId"],
    aws_secret_access_key=vended["SecretAccessKey"],
    aws_session_token=vended["Token"],
)


def write():
    s3.put_object(Bucket=story.BUCKET, Key=f"{story.PREFIX}/static", Body=b"static")


def refused_as_expired():
    deadline = time.monotonic() + float(sys.argv[1])
    while time.monotonic() < deadline:
        try:
            write()
        except ClientError as error:
            # MiniStack forgets expired sessions whenever it issues a new one; then it no longer knows the key.
            code = error.response["Error"]["Code"]
            assert code in ("ExpiredToken", "InvalidAccessKeyId"), f"refused, but not as expired: {error}"
            now = datetime.datetime.now(datetime.timezone.utc)
            assert now >= expiration, f"refused as {code} at {now}, before it expired at {expiration}"
            return code
        time.sleep(0.02 if datetime.datetime.now(datetime.timezone.utc) >= expiration else 0.25)
    raise AssertionError("still accepted long after their expiry")


story.tell(version=f"boto3 {boto3.__version__}, botocore {botocore.__version__}")
story.check("accepted", write)
story.check("expired", refused_as_expired)
