"""A sink that fetches its role's credentials again and again, in the way of one kind of client, and writes down each fetch:
when it began, how long it took, `ok` or what went wrong. What was fetched is checked for being complete and unexpired.

    consumer.py curl|keep-alive|botocore

Where, and with which token, its environment says, as roletap's drop-ins for sinks set it.
"""

import datetime
import http.client
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.parse

KIND = sys.argv[1]
URL = os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
ADDRESS = urllib.parse.urlsplit(URL)
TOKEN_FILE = pathlib.Path(os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
TIMEOUT = 5  # of the Java and .NET SDKs; that of others is 1 s or 2 s, and they try again
SEEN = pathlib.Path(f"/var/log/consumers/{KIND}.seen")  # for the search for secrets where none may be
PAUSE = 0.02


def main():
    fetch = {"curl": curl, "keep-alive": KeepAlive(), "botocore": Botocore()}[KIND]
    seen = set()
    with open(f"/var/log/consumers/{KIND}.log", "a", buffering=1) as log:
        while True:
            began, clock = time.time(), time.monotonic()
            try:
                secrets = fetch()
                result = "ok"
                for secret in set(secrets) - seen:
                    seen.add(secret)
                    with SEEN.open("a") as file:
                        file.write(secret + "\n")
            except Exception as error:  # whatever it is, a sink would have failed
                result = f"{type(error).__name__}: {error}".replace("\n", " ")[:200]
            print(f"{began:.3f} {time.monotonic() - clock:.3f} {result}", file=log)
            time.sleep(PAUSE)


def token():
    return TOKEN_FILE.read_text()


def checked(status, body):
    if status != 200:
        raise ValueError(f"status {status}: {body[:100]}")
    answer = json.loads(body)
    end = datetime.datetime.strptime(answer["Expiration"], "%Y-%m-%dT%H:%M:%SZ")
    if end <= datetime.datetime.utcnow():
        raise ValueError(f"expired at {end}")
    if not all(answer[key] for key in ("AccessKeyId", "SecretAccessKey", "Token")):
        raise ValueError("not complete")
    return answer["SecretAccessKey"], answer["Token"], token()


def curl():
    """A new process and a new connection each time, no second try."""
    command = ["curl", "--silent", "--show-error", "--max-time", str(TIMEOUT), "--write-out", "\n%{http_code}"]
    done = subprocess.run(
        [*command, "--header", "@-", URL],
        input=f"Authorization: {token()}\n",
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ConnectionError(done.stderr.strip() or f"curl: {done.returncode}")
    body, status = done.stdout.rsplit("\n", 1)
    return checked(int(status), body)


class KeepAlive:
    """One connection for as long as it lasts. As every HTTP library does, tries once more where it was closed while idle."""

    def __init__(self):
        self.connection = None

    def __call__(self):
        if self.connection is not None:
            try:
                return self.ask()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self.close()
            except Exception:
                self.close()
                raise
        self.connection = http.client.HTTPConnection(ADDRESS.hostname, ADDRESS.port, timeout=TIMEOUT)
        try:
            return self.ask()
        except Exception:
            self.close()
            raise

    def ask(self):
        self.connection.request("GET", ADDRESS.path, headers={"Authorization": token()})
        answer = self.connection.getresponse()
        closes = answer.getheader("Connection", "").lower() == "close"
        body = answer.read().decode()
        if closes:
            self.close()
        return checked(answer.status, body)

    def close(self):
        self.connection.close()
        self.connection = None


class Botocore:
    """The container provider of the AWS SDK for Python, asked anew each time."""

    def __call__(self):
        import botocore.credentials

        os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = token()
        found = botocore.credentials.ContainerProvider().load().get_frozen_credentials()
        if not (found.access_key and found.secret_key and found.token):
            raise ValueError("not complete")
        return found.secret_key, found.token, token()


main()
