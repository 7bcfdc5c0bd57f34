"""The story that every client lives through, in one process, told to the runner as JSON lines.

1. whoami (where the client can): the role the endpoint vends is the one the client acts as;
2. an object written and read back with the first credentials;
3. a wait on standard input until the runner has seen S3 refuse those first credentials as expired;
4. the same again in the same process: the client has refreshed by itself;
5. the other role's bucket: refused.
"""

import json
import os
import sys
import time

BUCKET = os.environ["STORY_BUCKET"]
OTHER_BUCKET = os.environ["STORY_OTHER_BUCKET"]
PREFIX = os.environ["STORY_PREFIX"]  # this client's own keys
PRINCIPAL = os.environ["STORY_PRINCIPAL"]  # the ARN that whoami must answer
ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
REGION = os.environ["AWS_REGION"]


def tell(**line):
    print(json.dumps(line), flush=True)


def check(name, action):
    """Runs one step and tells how it went; a failed step does not end the story."""
    start = time.monotonic()
    try:
        ok, detail = True, action() or ""
    except Exception as error:  # whatever a client throws is its answer
        ok, detail = False, f"{type(error).__name__}: {error}"
    milliseconds = round((time.monotonic() - start) * 1000)
    tell(check=name, ok=ok, detail=detail[-1000:], ms=milliseconds)


def live(version, write, read, whoami=None):
    """`write(bucket, key, text)`, `read(bucket, key) -> text`, `whoami() -> ARN`; each throws on failure."""

    def acts_as_the_role():
        principal = whoami()
        assert principal == PRINCIPAL, f"acts as {principal}, not as {PRINCIPAL}"

    def round_trip(name):
        key, text = f"{PREFIX}/{name}", f"{name} by {version} at {time.time_ns()}"
        write(BUCKET, key, text)
        back = read(BUCKET, key)
        assert back == text, f"wrote {text!r}, read {back!r}"

    def refused_elsewhere():
        try:
            write(OTHER_BUCKET, f"{PREFIX}/foreign", "must not arrive")
        except Exception as error:
            answer = str(error).lower().replace("_", "").replace(" ", "")
            assert "accessdenied" in answer, f"refused, but not as AccessDenied: {error}"
        else:
            raise AssertionError(f"wrote to {OTHER_BUCKET}")

    tell(version=version)
    if whoami:
        check("identity", acts_as_the_role)
    check("first", lambda: round_trip("first"))
    tell(waiting="step 2")
    if sys.stdin.readline().strip() != "step 2":
        sys.exit("the runner is gone")
    check("refreshed", lambda: round_trip("refreshed"))
    check("isolated", refused_elsewhere)
