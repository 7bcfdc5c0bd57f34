"""rclone, that of the venv or the one that is named: one `rclone rcd` for the whole story, driven over its loopback remote control."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request

import protocol

RCLONE = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(sys.executable).parent / "rclone"
SCRATCH = pathlib.Path(tempfile.mkdtemp())
REMOTE = {
    "RCLONE_CONFIG": str(SCRATCH / "no-such.conf"),
    "RCLONE_CONFIG_S3_TYPE": "s3",
    "RCLONE_CONFIG_S3_PROVIDER": "Other",
    "RCLONE_CONFIG_S3_ENV_AUTH": "true",
    "RCLONE_CONFIG_S3_ENDPOINT": protocol.ENDPOINT,
    "RCLONE_CONFIG_S3_REGION": protocol.REGION,
    "RCLONE_CONFIG_S3_NO_CHECK_BUCKET": "true",
}
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def start():
    """The daemon and the address it chose."""
    daemon = subprocess.Popen(
        [RCLONE, "rcd", "--rc-addr=127.0.0.1:0", "--rc-no-auth", "--retries=1", "--low-level-retries=1",
         # Otherwise a HEAD of the target comes first, and a refused HEAD has no body that says why.
         "--no-check-dest"],
        env=os.environ | REMOTE, stderr=subprocess.PIPE, text=True,
    )
    for line in daemon.stderr:
        if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
            threading.Thread(target=shutil.copyfileobj, args=(daemon.stderr, sys.stderr), daemon=True).start()
            return daemon, found[0]
    raise RuntimeError("rclone rcd named no address")


def call(command, **parameters):
    request = urllib.request.Request(address + command, json.dumps(parameters).encode(), {"Content-Type": "application/json"})
    try:
        with direct.open(request, timeout=80) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise RuntimeError(json.load(error)["error"]) from None


def copy(source, source_path, target, target_path):
    call("operations/copyfile", srcFs=source, srcRemote=source_path, dstFs=target, dstRemote=target_path)


class Rclone:
    def write(self, bucket, key, text):
        (SCRATCH / "out").write_text(text)
        copy(str(SCRATCH), "out", f"s3:{bucket}", key)

    def read(self, bucket, key):
        (SCRATCH / "in").unlink(missing_ok=True)
        copy(f"s3:{bucket}", key, str(SCRATCH), "in")
        return (SCRATCH / "in").read_text()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of `finally`
rclone, address = start()
try:
    version = call("core/version")
    protocol.live(f"rclone {version['version'].removeprefix('v')}", Rclone)
finally:
    rclone.terminate()
    rclone.wait(timeout=10)
