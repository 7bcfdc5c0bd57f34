"""What happens at the front, and what is checked. There is one front, so the scenes follow each other; a reload between two
of them gives the front another role, and each scene starts the clients anew.

- *hour*: a session of an hour; the daemon goes away and comes back.
- *short*: sessions of 15 s; all that was held expires, with the daemon there and without it; then its key is lost.
- *guarded*: a role that is for another user, and then for ours.
"""

import concurrent.futures
import dataclasses
import datetime
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

from daemon import LONG_SECONDS, REGION, SHORT_SECONDS, Daemon
from namespace import ADDRESS
from program import Program
from proxy import Tap
from stage import Failure, clean_environment, run, say, start_ministack
from theatre import access_key_id, filled
from theatre import HERE as CLIENTS

PATIENCE = 90  # for an answer that has to come
AWAY = 3.0  # how long the daemon stays away once the clients have asked
LIST = "/latest/meta-data/iam/security-credentials/"
STRANGER = 64999  # a user that is neither ours nor root

STEPS = {
    "first": "finds the front by itself, writes an object and reads it back",
    "identity": "every request to S3 was signed with credentials that were vended for the role at the front",
    "foreign": "is refused at the other role's bucket",
    "kept": "writes and reads while the daemon is away, with credentials of an hour",
    "anew": "started after the daemon was restarted, it writes and reads",
    "refreshed": "writes and reads in the same process after its first credentials have expired, with newer ones",
    "back": "its credentials expired while the daemon was away; it writes and reads in the same process when the daemon is back",
    "key lost": "writes and reads in the same process after the key of session tokens was lost, at the second try at the latest",
    "refused": "gets nothing of a role that is for another user",
    "allowed": "and does, in the same process, once a reload says that the role is for its user",
}
# Client → step → why it cannot, from its source. A limit that is none any more fails the run; botocore is not asked to do
# what it does by chance.
BOTOCORE = (
    "what has less than 12 to 20 minutes left it takes for the service's failure, and uses on for some minutes, expired or not"
    " (botocore/utils.py, `InstanceMetadataFetcher._evaluate_expiration`)"
)
NOT_ASKED = dict.fromkeys(("refreshed", "back", "key lost"), BOTOCORE)
GO_V2 = (
    "when a refresh fails it uses on what it has for 5 to 15 minutes, expired or not (credentials/ec2rolecreds/provider.go,"
    " `HandleFailToRefresh`)"
)
RUBY = (
    "when a refresh fails it asks for no more for 5 to 6 minutes, and uses on what it has, expired or not"
    " (aws-sdk-core/instance_profile_credentials.rb, `refresh`)"
)
LIMITS = {
    "boto3": NOT_ASKED | {
        "allowed": "a client that was made when there were no credentials has none for good (botocore/session.py, `Session.create_client`)",
    },
    "go-v2": {"back": GO_V2, "key lost": GO_V2},
    "rclone": {"back": GO_V2, "key lost": GO_V2},
    "rust": {
        "key lost": "tries a refused session token again until its six hours are over (aws-config's src/imds/client/token.rs, `resolve_identity`)",
    },
    "ruby": {
        "back": RUBY,
        "key lost": RUBY,
        "allowed": "a client that was made when there were no credentials has none for good (aws-sdk-core/plugins/credentials_configuration.rb)",
    },
    "opendal-crate": {
        "key lost": "tries a refused session token again for hours (reqsign-aws-core's src/provide_credential/imds.rs, `load_ec2_metadata_token`)",
    },
    "opendal-0.55": {
        "key lost": "tries a refused session token again for 5 h 50 min (reqsign's src/aws/credential.rs, `load_ec2_metadata_token`)",
    },
}


@dataclasses.dataclass
class Result:
    name: str
    version: str = "?"
    checks: dict = dataclasses.field(default_factory=dict)  # step → (whether, what was said)
    refusal: str = ""  # what its user reads when the role is for another


def judge(result):
    """Step → (mark, what was said)."""
    judged = {}
    for step in STEPS:
        limit = LIMITS.get(result.name, {}).get(step)
        ok, said = result.checks.get(step, (None, "never came so far"))
        if limit and ok:
            judged[step] = ("✗", f"works, though it is said that it cannot: {limit}")
        elif limit:
            judged[step] = ("–", limit)
        else:
            judged[step] = ("✓", "") if ok else ("✗", said)
    return judged


class Scenes:
    def __init__(self, cast, binary, ministack, python, processes, work):
        self.cast, self.binary, self.ministack, self.python = cast, binary, ministack, python
        self.processes, self.work = processes, work
        self.results = {client.name: Result(client.name) for client, _ in cast}

    def play(self):
        self._set()
        self._hour()
        self._short()
        self._guarded()
        return list(self.results.values())

    def _set(self):
        self.clean = clean_environment(self.work / "home")
        endpoint = start_ministack(self.processes, self.ministack, self.clean, self.work / "home")
        aws = {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
        self.accounts = json.loads(run([self.python, CLIENTS / "ministack_setup.py"], self.clean | aws | {"AWS_ENDPOINT_URL": endpoint}))
        self.s3 = Tap(int(endpoint.rsplit(":", 1)[1]), recognise=access_key_id)
        self.daemon = Daemon(self.binary, self.work, self.accounts, endpoint, self.processes, self.clean)
        self.audit = self.work / "audit.log"
        self.daemon.add_role("hour", "ours", LONG_SECONDS)
        self.daemon.add_role("short", "ours", SHORT_SECONDS)
        self.daemon.add_role("guarded", "ours", LONG_SECONDS)
        self.daemon.text += f'allow_users = ["{STRANGER}"]\n'
        self.daemon.text += f'[imds.sink]\nlisten = "{ADDRESS}:80"\nrole = "hour"\n[log]\naudit = "{self.audit}"\n'
        self.daemon.start()
        say(f"roletap listens on {ADDRESS}:80, in a network namespace of its own")

    # The scenes.

    def _hour(self):
        programs = self._start("hour")
        for name, program in programs.items():
            self.results[name].version = program.version
            self._must(name, "first", self._put(program, "first"))
            signed = self._signed(f"{name}-hour")
            foreign = signed - self._vended("hour")
            self._check(name, "identity", bool(signed) and not foreign, f"signed by {sorted(signed)}, of which not ours: {sorted(foreign)}")
            began = time.time()
            self._check_foreign(name, program.ask("foreign", PATIENCE), began)
        self.daemon.stop()
        say("the daemon is away")
        self._all(programs, lambda name, program: self._must(name, "kept", self._put(program, "kept")))
        self.daemon.start()
        say("the daemon is back")
        self._finish(programs)
        programs = self._start("hour", "anew")
        self._all(programs, lambda name, program: self._must(name, "anew", self._put(program, "anew")))
        self._finish(programs)

    def _short(self):
        self._give_the_front_to("short")
        cast = [(client, places) for client, places in self.cast if LIMITS.get(client.name, {}).get("refreshed") != BOTOCORE]
        programs = self._start("short", cast=cast)
        self._all(programs, self._first_of_short)
        dead = self._sleep_past_all("short")
        say("all that the clients hold has expired")
        self._all(programs, lambda name, program: self._renewed(name, program, "refreshed", dead))
        self.daemon.stop()
        say("the daemon is away")
        dead = self._sleep_past_all("short")
        for program in programs.values():
            program.send("put down")  # what becomes of it is the client's affair
        early = self._all(programs, lambda name, program: program.answer(AWAY))
        self.daemon.start()
        say("the daemon is back")
        self._all(programs, lambda name, program: early[name] or program.answer(PATIENCE) or program.give_up(PATIENCE))
        self._all(programs, lambda name, program: self._renewed(name, program, "back", dead))
        self.daemon.stop()
        (self.daemon.tokens / ".imds").unlink()
        self.daemon.start()
        dead = self._sleep_past_all("short")
        say("the key of session tokens is lost")
        self._all(programs, lambda name, program: self._renewed(name, program, "key lost", dead, tries=2))
        self._finish(programs)

    def _guarded(self):
        self._give_the_front_to("guarded")
        self._the_front_itself_says_who_may()
        programs = self._start("guarded")
        self._all(programs, self._refused)
        us = os.geteuid()
        self.daemon.text = self.daemon.text.replace(f'allow_users = ["{STRANGER}"]', f'allow_users = ["{us}"]')
        self._reload(lambda: self._ask(f"{LIST}guarded")[0] == 200)
        say("the role is for us now")
        self._all(programs, lambda name, program: self._must(name, "allowed", self._put(program, "allowed")))
        self._finish(programs)

    # What they are made of.

    def _start(self, role, suffix="", cast=None):
        """The clients' programs, told where S3 is and nothing of credentials."""
        programs = {}
        for client, places in cast or self.cast:
            name = f"{client.name}-{suffix or role}"
            home = self.work / "homes" / name
            home.mkdir(parents=True)
            environment = self.clean | {
                "HOME": str(home),
                "TMPDIR": str(home),
                "AWS_ENDPOINT_URL": self.s3.url,
                "AWS_REGION": REGION,
                "AWS_DEFAULT_REGION": REGION,
                "STORY_ENDPOINT": self.s3.url,
                "STORY_BUCKET": self.accounts["ours"]["bucket"],
                "STORY_OTHER_BUCKET": self.accounts["other"]["bucket"],
                "STORY_PREFIX": f"sink/{name}",
                "STORY_ROLE": role,  # for those that have to be told its name
            } | filled(client.environment, places)
            programs[client.name] = Program(name, filled(client.command, places), environment, self.processes, home)
        for name, program in programs.items():
            if not program.hello(PATIENCE):
                raise Failure(f"{name} did not say which client it is:\n{self.processes.tail(program.name)}")
        return programs

    def _first_of_short(self, name, program):
        answer = self._put(program, "first")
        if not answer.ok:
            self._check(name, "refreshed", False, f"before anything expired: {answer.said}")

    def _renewed(self, name, program, step, dead, tries=1):
        """It works, by credentials that were vended later than those that are dead."""
        began = time.time()
        for _ in range(tries):
            answer = self._put(program, step.replace(" ", "-"))
            if answer.ok:
                break
        self._must(name, step, answer)
        if answer.ok:
            signed = self._signed(program.name, began)
            self._check(name, step, bool(signed) and signed <= self._vended("short") - dead, f"it worked, signed by {sorted(signed)}")

    def _refused(self, name, program):
        answer = self._put(program, "refused")
        self.results[name].refusal = answer.said
        signed = self._signed(program.name)
        self._check(name, "refused", not answer.ok and not signed, f"it worked: {signed}" if answer.ok else f"signed by {signed}")

    def _check_foreign(self, name, answer, began):
        """One client after another does this."""
        bucket = self.accounts["other"]["bucket"]
        statuses = [
            exchange.status for exchange in self.s3.exchanges
            if exchange.target.startswith(f"/{bucket}") and exchange.began >= began and exchange.status is not None
        ]
        refused = not answer.ok and 403 in statuses and not any(status < 300 for status in statuses)
        self._check(name, "foreign", refused, f"S3 answered {statuses}; {answer.said}")

    def _the_front_itself_says_who_may(self):
        """In words, and by the kernel's word on who is calling."""
        status, text = self._ask(f"{LIST}guarded")
        if status == 200:
            raise Failure("the front gives a role of another user to us")
        refusal = json.loads(text)
        if status != 403 or refusal["Code"] != "CallerNotAllowed" or "role guarded is not for who asked" not in refusal["Message"]:
            raise Failure(f"a role of another user: {status} {text}")
        say(f"refused in words: {refusal['Message']}")
        if not there_is(STRANGER):
            say(f"not shown, that user {STRANGER} has it, whose role it is: there are no other users in our user namespace")
            return
        status, _ = self._ask(f"{LIST}guarded", user=STRANGER)
        if status != 200:
            raise Failure(f"user {STRANGER}, whose role it is, gets {status}")
        say(f"user {STRANGER}, whose role it is, has it")

    def _give_the_front_to(self, role):
        self.daemon.text = re.sub(r'(listen = "[\d.:]+"\nrole) = "\w+"', rf'\1 = "{role}"', self.daemon.text)
        self._reload(lambda: self._ask(LIST) == (200, role))
        say(f"the front has the role {role}")

    def _reload(self, done):
        self.daemon.config.write_text(self.daemon.text)
        os.kill(self.processes.children["roletap"].pid, signal.SIGHUP)
        deadline = time.monotonic() + 10
        while not done():
            if time.monotonic() > deadline:
                raise Failure(f"nothing came of a reload in 10 s:\n{self.processes.tail('roletap')}")
            time.sleep(0.05)

    def _ask(self, path, user=""):
        """Status and body, by version 2, of a process of that user, or of ours."""
        command = [sys.executable, "-c", ASK, f"http://{ADDRESS}", path, str(user)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            raise Failure(f"the front did not answer:\n{done.stderr}")
        status, _, text = done.stdout.partition(" ")
        return int(status), text

    def _all(self, programs, action):
        """`action(name, program)` for every client at once; what it returned, by name."""
        with concurrent.futures.ThreadPoolExecutor(max(1, len(programs))) as pool:
            futures = {name: pool.submit(action, name, program) for name, program in programs.items()}
            return {name: future.result() for name, future in futures.items()}

    @staticmethod
    def _put(program, key):
        return program.ask(f"put {key}", PATIENCE)

    @staticmethod
    def _finish(programs):
        for program in programs.values():
            program.finish()

    def _must(self, name, step, answer):
        self._check(name, step, answer.ok, answer.said)

    def _check(self, name, step, ok, said):
        """A step that has failed once stays failed."""
        before = self.results[name].checks.get(step, (True, ""))
        self.results[name].checks[step] = before if not before[0] else (ok, "" if ok else said)

    # What has been seen.

    def _signed(self, name, since=0.0):
        """With which access keys successful requests for this program's keys in S3 were signed."""
        return {
            exchange.who for exchange in self.s3.exchanges
            if f"/sink/{name}/" in exchange.target and exchange.began >= since and exchange.status is not None and exchange.status < 300
        }

    def _audited(self, role):
        """Every new access key that was vended for the role has a line."""
        lines = map(json.loads, self.audit.read_text().splitlines())
        return [line for line in lines if line.get("role") == role and line.get("access_key_id")]

    def _vended(self, role):
        return {line["access_key_id"] for line in self._audited(role)}

    def _sleep_past_all(self, role):
        """Past the expiry of all that was vended; the access keys that are dead then."""
        dead = self._vended(role)
        last = max(line["expires_at"] for line in self._audited(role))
        time.sleep(max(0.0, datetime.datetime.fromisoformat(last).timestamp() + 1.1 - time.time()))
        return dead


def there_is(user):
    """Whether a process may become this one, being root."""
    lines = pathlib.Path("/proc/self/uid_map").read_text().splitlines()
    return any(int(first) <= user < int(first) + int(count) for first, _, count in map(str.split, lines))


ASK = """
import encodings.idna, os, sys, urllib.error, urllib.request  # before the user changes, who may not read them
endpoint, path, user = sys.argv[1:]
if user:
    os.setgroups([])
    os.setuid(int(user))
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
session = direct.open(urllib.request.Request(f"{endpoint}/latest/api/token", method="PUT", headers=lifetime), timeout=5).read().decode()
try:
    answer = direct.open(urllib.request.Request(endpoint + path, headers={"X-aws-ec2-metadata-token": session}), timeout=5)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.read().decode(), end="")
"""
