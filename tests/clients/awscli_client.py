"""AWS CLI: one process per command, so its refresh is simply a later command."""

import pathlib
import subprocess
import sys
import tempfile

import awscli

import story

AWS = pathlib.Path(sys.executable).parent / "aws"
scratch = pathlib.Path(tempfile.mkdtemp()) / "object"


def aws(*arguments):
    done = subprocess.run([AWS, *arguments], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"aws {arguments[0]} {arguments[1]}: {done.stderr.strip()}")
    return done.stdout.strip()


def write(bucket, key, text):
    scratch.write_text(text)
    aws("s3api", "put-object", "--bucket", bucket, "--key", key, "--body", str(scratch))


def read(bucket, key):
    aws("s3api", "get-object", "--bucket", bucket, "--key", key, str(scratch))
    return scratch.read_text()


story.live(
    f"awscli {awscli.__version__}",
    write,
    read,
    whoami=lambda: aws("sts", "get-caller-identity", "--query", "Arn", "--output", "text"),
)
