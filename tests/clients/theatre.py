"""The stage of one wave: MiniStack, the daemon, three taps between them and the clients, and what the taps have seen.

    client ── credentials tap ── roletap ── STS tap ── MiniStack
       └───────────────────────────────── S3 tap ────────┘
"""

import json
import pathlib
import re
import time
import urllib.error
import urllib.parse

from daemon import LONG_SECONDS, REGION, SHORT_SECONDS, Daemon
from program import Program
from proxy import Tap
from stage import Failure, clean_environment, get, run, start_ministack

HERE = pathlib.Path(__file__).resolve().parent
PARTS = {"main": "", "long": "-long", "pending": "-pending", "wrong": "-wrong"}  # and what its role is called
WRONG_TOKEN = "this-is-not-the-token-of-any-role-at-all-00"
OTHER = {"ours": "other", "other": "ours"}


class Theatre:
    def __init__(self, binary, ministack, python, processes, work):
        """`python` has boto3: for the accounts and the negative control."""
        self.binary, self.ministack, self.python, self.processes, self.work = binary, ministack, python, processes, work

    def set(self, clients, held):
        """Everything up; every role of `clients` served but those which this adds to `held`."""
        self.clean = clean_environment(self.work / "home")
        endpoint = start_ministack(self.processes, self.ministack, self.clean, self.work / "home")
        port = urllib.parse.urlsplit(endpoint).port
        root = {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
        self.accounts = json.loads(run([self.python, HERE / "ministack_setup.py"], self.clean | root))

        def holds(body):
            session = re.search(rb"RoleSessionName=client-([^&]*)", body)
            return session is not None and session[1].decode() in held

        self.s3 = Tap(port, recognise=access_key_id)
        self.sts = Tap(port, holds=holds)
        self.daemon = Daemon(self.binary, self.work, self.accounts, self.sts.url, self.processes, self.clean)
        self.accounts_of = {}
        for client in clients:
            self.daemon.add_role(client.name, client.account, SHORT_SECONDS)
            self.daemon.add_role(f"{client.name}-long", client.account, LONG_SECONDS)
            self.daemon.add_role(f"{client.name}-pending", client.account, LONG_SECONDS, required=False)
            self.daemon.add_role(f"{client.name}-wrong", client.account, LONG_SECONDS)
            held.add(f"{client.name}-pending")
            for suffix in PARTS.values():
                self.accounts_of[client.name + suffix] = client.account
        self.daemon.start()
        self.credentials = Tap(self.daemon.port, recognise=self.daemon.recognise, documents=True)

    def start(self, client, places, role, wrong=False):
        """One part of a client, with nothing but what a workload of this role is told."""
        environment = self._environment(role, client.account) | filled(client.environment, places)
        if wrong:
            environment |= self._wrong_token(role)
        return Program(role, filled(client.command, places), environment, self.processes, environment["HOME"])

    def start_control(self, role):
        """It gets credentials of this role as a copy, and nothing of the endpoint."""
        told = self._environment(role, self.accounts_of[role], home="static")
        environment = {name: value for name, value in told.items() if "CONTAINER" not in name} | {"STORY_PREFIX": "sink/static"}
        command = [self.python, HERE / "python/static_client.py"]
        return Program("static copy", command, environment, self.processes, environment["HOME"])

    def _environment(self, role, account, home=None):
        home = self.work / "homes" / (home or role)
        home.mkdir(parents=True)
        settings = self.daemon.settings_of(role)
        uri = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
        tapped = settings[uri].replace(self.daemon.url, self.credentials.url)
        return self.clean | settings | {
            uri: tapped,
            "HOME": str(home),
            "TMPDIR": str(home),
            "AWS_ENDPOINT_URL": self.s3.url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            # A proxy that is not there: a client that does not heed NO_PROXY for the endpoint fails.
            "HTTP_PROXY": "http://127.0.0.1:9",
            "http_proxy": "http://127.0.0.1:9",
            "STORY_ENDPOINT": self.s3.url,
            "STORY_BUCKET": self.accounts[account]["bucket"],
            "STORY_OTHER_BUCKET": self.accounts[OTHER[account]]["bucket"],
            "STORY_PREFIX": f"sink/{role}",
        }

    def _wrong_token(self, role):
        file = self.work / "homes" / role / "token"
        file.write_text(WRONG_TOKEN)
        return {"AWS_CONTAINER_AUTHORIZATION_TOKEN": WRONG_TOKEN, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file)}

    def write(self, role, key):
        """Puts an object there for a client that only reads."""
        account = self.accounts[self.accounts_of[role]]
        script = (
            "import boto3, sys; bucket, key, text = sys.argv[1:];"
            " s3 = boto3.client('s3', aws_access_key_id='test', aws_secret_access_key='test');"
            " s3.put_object(Bucket=bucket, Key=key, Body=text.encode())"
        )
        environment = self.clean | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.s3.upstream}", "AWS_REGION": REGION}
        run([self.python, "-c", script, account["bucket"], f"sink/{role}/{key}", key], environment)

    # The daemon's absence.

    def daemon_away(self):
        """Its port is as closed as it would be without a tap in front of it."""
        self.daemon.stop()
        self.credentials.close()

    def daemon_returns(self):
        self.daemon.start()
        self.credentials.open()

    def wait_until_asked(self, roles, seconds=30):
        """Until STS has been asked for each of these, which it does not answer."""
        deadline = time.monotonic() + seconds
        while sum(exchange.status is None for exchange in self.sts.exchanges) < len(roles):
            if time.monotonic() > deadline:
                raise Failure("STS was not asked for the roles that are held")
            time.sleep(0.05)

    def wait_until_ready(self, role, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                get(f"{self.daemon.admin}/readyz/{role}")
                return
            except OSError:
                time.sleep(0.05)
        raise Failure(f"{role} has no credentials {seconds} s after STS answered")

    # What the taps have seen.

    def credentials_asked(self, role):
        return [exchange for exchange in self.credentials.exchanges if exchange.target.split("?")[0].endswith(f"/{role}")]

    def vended_keys(self, role):
        return {exchange.access_key_id for exchange in self.credentials_asked(role) if exchange.access_key_id}

    def role_of(self, key):
        """To whom credentials were vended, or None."""
        for exchange in self.credentials.exchanges:
            if exchange.access_key_id == key:
                return exchange.target.split("?")[0].rsplit("/", 1)[1]
        return None

    def last_expiration(self, roles):
        """Of all that was vended to these; all are written alike, so that they sort as text."""
        return max(exchange.expiration for role in roles for exchange in self.credentials_asked(role) if exchange.expiration)

    def signed(self, role, since=0.0):
        """With which access keys successful requests for this role's own keys in S3 were signed."""
        return {
            exchange.who
            for exchange in self.s3.exchanges
            if f"sink/{role}/" in urllib.parse.unquote(exchange.target)
            and exchange.began >= since and exchange.status is not None and exchange.status < 300
        }

    def foreign_statuses(self, role):
        """What S3 answered to requests for the bucket that is not this role's, but for its own key there."""
        bucket = self.accounts[OTHER[self.accounts_of[role]]]["bucket"]
        return [
            exchange.status
            for exchange in self.s3.exchanges
            if exchange.target.startswith(f"/{bucket}") and self.role_of(exchange.who) == role and exchange.status is not None
        ]

    def refusal_of(self, token):
        """What the daemon itself says to a wrong token."""
        role = next(iter(self.accounts_of))
        try:
            get(f"{self.daemon.url}/v1/credentials/{role}", {"Authorization": token})
        except urllib.error.HTTPError as error:
            return json.load(error)
        raise Failure("the daemon takes a wrong token")


def access_key_id(authorization):
    """Who signed; the signature is not kept."""
    found = re.search(r"Credential=([^/]+)/", authorization)
    return found[1] if found else "nobody"


def filled(template, places):
    """A list, or the values of a table, with {python}, {dir} and {here} in their place."""

    def fill(text):
        for name, value in places.items():
            text = text.replace("{" + name + "}", value)
        return text

    return {name: fill(text) for name, text in template.items()} if isinstance(template, dict) else [fill(text) for text in template]
