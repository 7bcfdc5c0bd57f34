"""The negative control, and the clock of the story: boto3 with a copy of vended credentials that nothing refreshes.

S3 must accept them at first and refuse them as expired later. If it never does, nothing that the other clients
show about refreshing means anything. The first line is the document as it was vended; then `accepted`, then `expired`.
"""

import datetime
import json
import sys
import time

import boto3
import botocore
from botocore.exceptions import ClientError

import protocol

PATIENCE = 60


def write():
    s3.put_object(Bucket=protocol.BUCKET, Key=f"{protocol.PREFIX}/static", Body=b"static")


def refused_as_expired():
    deadline = time.monotonic() + PATIENCE
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


protocol.tell(version=f"boto3 {boto3.__version__}, botocore {botocore.__version__}")
vended = json.loads(sys.stdin.readline())
expiration = datetime.datetime.fromisoformat(vended["Expiration"])
s3 = boto3.client(
    "s3",
    aws_access_key_id=vended["AccessKeyId"],
    aws_secret_access_key=vended["SecretAccessKey"],
    aws_session_token=vended["Token"],
)
for line, step in zip(sys.stdin, (write, refused_as_expired)):
    start = time.monotonic()
    try:
        ok, said = True, step() or ""
    except Exception as error:
        ok, said = False, f"{type(error).__name__}: {error}"
    protocol.tell(ok=ok, ms=round((time.monotonic() - start) * 1000), said=said)
