"""AWS CLI, named by the first argument: one process per command, so its refresh is simply a later command."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import protocol

AWS = sys.argv[1:]
ENDPOINT = ["--endpoint-url", protocol.ENDPOINT]  # version 2.9 does not know AWS_ENDPOINT_URL


def aws(*arguments):
    done = subprocess.run([*AWS, *arguments], capture_output=True, text=True, timeout=80)
    if done.returncode != 0:
        raise RuntimeError(f"aws {arguments[0]} {arguments[1]}: {done.stderr.strip()}")
    return done.stdout.strip()


class Cli:
    def __init__(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp()) / "object"

    def write(self, bucket, key, text):
        self.scratch.write_text(text)
        aws("s3api", "put-object", "--bucket", bucket, "--key", key, "--body", str(self.scratch), *ENDPOINT)

    def read(self, bucket, key):
        aws("s3api", "get-object", "--bucket", bucket, "--key", key, str(self.scratch), *ENDPOINT)
        return self.scratch.read_text()


os.environ["AWS_PAGER"] = ""
version = subprocess.run([*AWS, "--version"], capture_output=True, text=True).stdout
protocol.live("awscli " + re.match(r"aws-cli/(\S+)", version)[1], Cli, per_command=True)
