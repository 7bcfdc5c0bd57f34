"""The protocol of a client program, for those in Python; tests/clients/README.md has it in words.

A client is an object with `write(bucket, key, text)` and `read(bucket, key) -> text`, each of which throws on failure.
It is made once, at the first line that needs it, and kept.
"""

import json
import os
import sys
import time

BUCKET = os.environ["STORY_BUCKET"]
OTHER_BUCKET = os.environ["STORY_OTHER_BUCKET"]
PREFIX = os.environ["STORY_PREFIX"]  # this program's own keys
ENDPOINT = os.environ["STORY_ENDPOINT"]
REGION = os.environ["AWS_REGION"]


def live(version, make, **hello):
    """`make()` is the client; `hello` may say `reads_only` or `per_command`."""
    tell(version=version, **hello)
    client = None
    for line in sys.stdin:
        start = time.monotonic()
        said = None
        try:
            client = client or make()
            obey(client, *line.split())
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # whatever a client throws is its answer, a panic of PyO3 included
            said = f"{type(error).__name__}: {error}"
        milliseconds = round((time.monotonic() - start) * 1000)
        tell(ok=said is None, ms=milliseconds, **({} if said is None else {"said": said}))


def obey(client, command, name=None):
    if command == "foreign":
        client.write(OTHER_BUCKET, f"{PREFIX}/foreign", "must not arrive")
        return
    key = f"{PREFIX}/{name}"
    if command == "put":
        client.write(BUCKET, key, name)
    back = client.read(BUCKET, key)
    if back != name:
        raise AssertionError(f"wrote {name!r}, read {back!r}")


def tell(**line):
    print(json.dumps(line), flush=True)
