"""s3fs-fuse: a mount for each bucket, made at the first line that needs it, in a mount namespace of this program alone."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "clients/python"))

import protocol

S3FS = sys.argv[1]
SCRATCH = pathlib.Path(tempfile.mkdtemp())
ROLE = os.environ["STORY_ROLE"]  # `auto` asks for the name without a session token
OPTIONS = f"iam_role={ROLE},url={protocol.ENDPOINT},endpoint={protocol.REGION},use_path_request_style,retries=1,direct_io"
TOP = protocol.PREFIX.split("/")[0]  # above it the role may do nothing
mounted = {}  # bucket → its process


class Mounts:
    def write(self, bucket, key, text):
        path = self.at(bucket) / pathlib.Path(key).relative_to(TOP)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, bucket, key):
        return (self.at(bucket) / pathlib.Path(key).relative_to(TOP)).read_text()

    @staticmethod
    def at(bucket):
        point = SCRATCH / bucket
        if bucket not in mounted:
            point.mkdir(exist_ok=True)
            log = (SCRATCH / f"{bucket}.log").open("w")
            process = subprocess.Popen([S3FS, f"{bucket}:/{TOP}", point, "-f", "-o", OPTIONS], stdout=log, stderr=log)
            while not os.path.ismount(point):
                if process.poll() is not None:
                    raise RuntimeError((SCRATCH / f"{bucket}.log").read_text().strip() or f"exit code {process.returncode}")
                time.sleep(0.02)
            mounted[bucket] = process
        return point


signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of `finally`
version = subprocess.run([S3FS, "--version"], capture_output=True, text=True).stdout.split(" V", 1)[1].split()[0]
try:
    protocol.live(f"s3fs {version}", Mounts)
finally:
    for process in mounted.values():
        process.terminate()
        process.wait(timeout=10)
