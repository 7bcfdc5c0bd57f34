"""roletap itself: its configuration, its comings and goings, and the settings that it prints for a workload."""

import hashlib
import json
import os
import pathlib
import signal
import time

from stage import Failure, free_port, get, run

REGION = "eu-central-1"
SHORT_SECONDS = 15  # short enough to wait for a real expiry, long enough for a busy machine
LONG_SECONDS = 3600


class Daemon:
    def __init__(self, binary, work, accounts, sts_url, processes, environment):
        self.port, admin_port = free_port(), free_port()
        self.url, self.admin = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{admin_port}"
        self.binary, self.config, self.accounts, self.processes = binary, work / "roletap.toml", accounts, processes
        self.tokens = work / "tokens"
        self.environment = environment | {
            "AWS_ACCESS_KEY_ID": accounts["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": accounts["secret_access_key"],
        }
        self.clean = environment
        self.known = {}  # digest of a token → what it is
        self.settings = {}
        self.text = f"""\
[server]
listen = ["127.0.0.1:{self.port}"]
token_dir = "{self.tokens}"

[admin]
listen = ["127.0.0.1:{admin_port}"]

[sts]
region = "{REGION}"
endpoint_url = "{sts_url}"
unsafe_short_sessions = true
# Roles whose issue is held must not be in the way of the others, nor time out.
max_in_flight = 256
max_requests_per_second = 600
attempt_timeout = "1m"

[defaults]
role_session_name = "client-{{role}}"
"""

    def add_role(self, name, account, seconds, required=True):
        self.text += f"""
[role.{name}]
role_arn = "{self.accounts[account]['arn']}"
external_id = "{self.accounts[account]['external_id']}"
duration_seconds = {seconds}
required = {json.dumps(required)}
"""

    def start(self):
        self.config.write_text(self.text)
        self.tokens.mkdir(mode=0o700, exist_ok=True)
        self.processes.start("roletap", [self.binary, "run", "--config", self.config], self.environment)
        self.processes.wait_for("roletap", f"{self.admin}/readyz")

    def stop(self):
        """As an operator does; with exit code 0."""
        child = self.processes.children["roletap"]
        if child.poll() is not None:
            raise Failure(f"roletap had ended before it was asked to, with exit code {child.returncode}:\n{self.processes.tail('roletap')}")
        child.terminate()
        if code := child.wait(timeout=20):
            raise Failure(f"roletap ended with exit code {code} after SIGTERM:\n{self.processes.tail('roletap')}")

    def settings_of(self, role):
        """What `roletap env` prints is what a client gets, and all that it gets."""
        printed = run([self.binary, "env", role, "--config", self.config, "--format", "json"], self.clean)
        self.settings[role] = json.loads(printed)["set"]
        self._remember(role, "its token")
        return self.settings[role]

    def vend(self, role):
        token = self._token_file(role).read_text()
        return json.loads(get(f"{self.url}/v1/credentials/{role}", {"Authorization": token}))

    def replace_tokens(self, roles):
        """Each role's file goes, and a reload writes another; the old token stays valid for a while."""
        for role in roles:
            self._remember(role, "the old token")
            self._token_file(role).unlink()
        os.kill(self.processes.children["roletap"].pid, signal.SIGHUP)
        deadline = time.monotonic() + 10
        while not all(self._token_file(role).exists() for role in roles):
            if time.monotonic() > deadline:
                raise Failure(f"no new token 10 s after a reload:\n{self.processes.tail('roletap')}")
            time.sleep(0.05)
        for role in roles:
            self._remember(role, "the new token")

    def recognise(self, authorization):
        """Which token came, in words; nothing is kept of it."""
        if not authorization:
            return "no token"
        return self.known.get(digest(authorization), "a wrong token")

    def _remember(self, role, what):
        self.known[digest(self._token_file(role).read_text())] = what

    def _token_file(self, role):
        return pathlib.Path(self.settings[role]["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])


def digest(token):
    return hashlib.sha256(token.strip().encode()).hexdigest()
