"""The story that every client lives through, told by the runner to client programs that know nothing of it.

A client is started four times, as four *parts*, each with a role of its own:

- *main* has sessions of seconds: first use, a real expiry, the daemon down until all has expired, its token replaced;
- *long* has a session of an hour: how often it asks, and whether it lives through the daemon's absence;
- *pending* is there before STS has answered for its role;
- *wrong* comes with a wrong token.

What a client must do is a check (cast.STEPS); what it does when there is nothing to be had is only recorded.
"""

import concurrent.futures
import dataclasses
import datetime
import json
import time

from program import Answer
from stage import Failure, say
from theatre import PARTS, WRONG_TOKEN

PATIENCE = 90  # for an answer that has to come
HELD = 3.0  # how long a pending role is kept pending, and how long the daemon stays away, once a client has asked


@dataclasses.dataclass(frozen=True)
class Check:
    ok: bool
    said: str = ""


@dataclasses.dataclass
class Result:
    """What came of one client."""

    client: object
    version: str = "?"
    per_command: bool = False
    checks: dict = dataclasses.field(default_factory=dict)  # step → Check
    answers: dict = dataclasses.field(default_factory=dict)  # what is only recorded: `pending`, `down`, `wrong` → Answer
    waited: dict = dataclasses.field(default_factory=dict)  # `pending`, `down` → whether it was still at it when that ended
    first_call_ms: int | None = None
    first_credentials_ms: float | None = None  # from the line to the last byte of the first document
    our_ms: float | None = None  # of which the daemon took
    requests: dict = dataclasses.field(default_factory=dict)  # episode → how many
    headers: tuple = ()
    agent: str = ""
    rotated_with: str = ""
    verdict: str = ""  # of the message about the wrong token


class Wave:
    """Some clients, side by side, on a stage of their own."""

    def __init__(self, cast, stage):
        self.cast, self.stage = cast, stage
        self.results = {client.name: Result(client) for client, _ in cast}
        self.held = set()  # roles for which STS is not answered

    def play(self):
        self.stage.set([client for client, _ in self.cast], self.held)
        self.programs = self._start()
        self._first()
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            episodes = [pool.submit(episode) for episode in (self._pending, self._wrong, self._long)]
            self._foreign()
            for episode in episodes:
                episode.result()
        control = self._expiry()
        self._refreshed()
        self._down_and_back()
        self._rotated()
        for program in self.programs.values():
            program.finish()
        return list(self.results.values()), control

    def _start(self):
        programs = {}
        for client, places in self.cast:
            for part, suffix in PARTS.items():
                programs[client.name, part] = self.stage.start(client, places, client.name + suffix, wrong=part == "wrong")
        for (name, part), program in programs.items():
            if not program.hello(PATIENCE):
                self.results[name].checks["first"] = Check(False, "the program did not say which client it is")
            if part == "main":
                self.results[name].version, self.results[name].per_command = program.version, program.per_command
        return programs

    # The episodes.

    def _first(self):
        """One client after another, so that each has the machine to itself."""
        for name, program, result in self._parts("main"):
            answer = self._put(program, name, "first")
            vended = [exchange for exchange in self.stage.credentials_asked(name) if exchange.status == 200]
            result.first_call_ms = answer.ms
            if vended:
                result.first_credentials_ms = (vended[0].ended - program.sent) * 1000
                result.our_ms, result.headers, result.agent = vended[0].ms, vended[0].headers, vended[0].agent
            result.requests["first"] = len(self.stage.credentials_asked(name))
            self._must(result, "first", answer)
            signed = self.stage.signed(name)
            foreign = {who for who in signed if self.stage.role_of(who) != name}
            said = f"signed by {', '.join(sorted(foreign))}" if foreign else "no request to S3 was seen"
            result.checks["identity"] = Check(bool(signed) and not foreign, said)

    def _pending(self):
        def ask(name, program, result):
            role = name + "-pending"
            self._prepare_get(program, role, "pending")
            program.send(f"{self._verb(program)} pending")
            answer = self._answer_or_asked(program, role) or program.answer(time.time() - program.sent + HELD)
            result.waited["pending"] = answer is None
            result.requests["pending"] = len(self.stage.credentials_asked(role))
            self.held.discard(role)
            return answer

        self.stage.wait_until_asked(self.held)
        early = self._all_at_once("pending", ask)
        for name, program, result in self._parts("pending"):
            result.answers["pending"] = early[name] or program.answer(PATIENCE) or program.give_up(PATIENCE)
            self.stage.wait_until_ready(name + "-pending")
            self._must(result, "filled", self._put(program, name + "-pending", "filled"))

    def _wrong(self):
        refusal = self.stage.refusal_of(WRONG_TOKEN)

        def ask(name, program, result):
            answer = self._put(program, name + "-wrong", "wrong")
            result.answers["wrong"] = answer
            asked = self.stage.credentials_asked(name + "-wrong")
            result.requests["wrong"] = len(asked)
            granted = [exchange for exchange in asked if exchange.status == 200]
            result.checks["refused"] = Check(not answer.ok and not granted and bool(asked), "it worked, or never asked")
            result.verdict = verdict(answer.said, refusal)

        self._all_at_once("wrong", ask)

    def _long(self):
        for name, program, result in self._parts("long"):
            for number in (1, 2, 3):
                answer = self._put(program, name + "-long", f"long-{number}")
                if not answer.ok:
                    break
            result.answers["long"] = answer
            result.requests["long"] = len(self.stage.credentials_asked(name + "-long"))

    def _foreign(self):
        for name, program, result in self._parts("main"):
            if program.reads_only:
                continue
            answer = program.ask("foreign", PATIENCE)
            statuses = self.stage.foreign_statuses(name)
            if answer.ok or any(status < 300 for status in statuses):
                result.checks["foreign"] = Check(False, "it wrote to the other role's bucket")
            else:
                result.checks["foreign"] = Check(403 in statuses, f"not refused by S3, but: {answer.said}")

    def _expiry(self):
        """Nothing that any client holds lives longer than what the endpoint hands out now. When S3 refuses the longest
        lived of these as expired, every client's first credentials are dead."""
        vended = {client.name: self.stage.daemon.vend(client.name) for client, _ in self.cast}
        of, longest = max(vended.items(), key=lambda one: one[1]["Expiration"])
        control = self.stage.start_control(of)
        control.hello(PATIENCE)
        control.send(json.dumps(longest))
        accepted = control.ask("accepted", PATIENCE)
        expired = control.ask("expired", PATIENCE)
        if not (accepted.ok and expired.ok):
            raise Failure(f"the negative control: {accepted.said or expired.said}")
        self._sleep_past(longest["Expiration"])
        say(f"S3 refuses the first credentials ({expired.said}); every client goes on")
        return control.version, expired.said

    def _refreshed(self):
        def ask(name, program, result):
            before, asked = self.stage.vended_keys(name), len(self.stage.credentials_asked(name))
            began = time.time()
            answer = self._put(program, name, "refreshed")
            result.requests["refreshed"] = len(self.stage.credentials_asked(name)) - asked
            # The runner and the clients have had these before; what they hold is expired.
            signed = self.stage.signed(name, began)
            if answer.ok and not signed - before:
                answer = Answer(False, answer.ms, "it worked with credentials that are expired")
            self._must(result, "refreshed", answer)

        self._all_at_once("main", ask)

    def _down_and_back(self):
        self.stage.daemon_away()
        say("the daemon is down")

        def keep(name, program, result):
            if result.answers["long"].ok:
                self._must(result, "kept", self._put(program, name + "-long", "kept"))
            else:
                self._must(result, "kept", result.answers["long"])

        self._all_at_once("long", keep)
        self._sleep_past(self.stage.last_expiration([client.name for client, _ in self.cast]))

        def down(name, program, result):
            self._prepare_get(program, name, "down")
            program.send(f"{self._verb(program)} down")
            answer = program.answer(HELD)
            result.waited["down"] = answer is None
            return answer

        early = self._all_at_once("main", down)
        self.stage.daemon_returns()
        say("the daemon is back")

        def back(name, program, result):
            result.answers["down"] = early[name] or program.answer(PATIENCE) or program.give_up(PATIENCE)
            self._must(result, "back", self._put(program, name, "back"))

        self._all_at_once("main", back)

    def _rotated(self):
        self.stage.daemon.replace_tokens([client.name for client, _ in self.cast])

        def ask(name, program, result):
            asked = len(self.stage.credentials_asked(name))
            self._must(result, "rotated", self._put(program, name, "rotated"))
            came = {exchange.who for exchange in self.stage.credentials_asked(name)[asked:]}
            result.rotated_with = " and ".join(sorted(came)) or "did not ask again yet"

        self._all_at_once("main", ask)

    # What the episodes are made of.

    def _parts(self, part):
        for client, _ in self.cast:
            yield client.name, self.programs[client.name, part], self.results[client.name]

    def _all_at_once(self, part, action):
        """`action(name, program, result)` for every client; what it returned, by name."""
        with concurrent.futures.ThreadPoolExecutor(len(self.cast)) as pool:
            futures = {args[0]: pool.submit(action, *args) for args in self._parts(part)}
            return {name: future.result() for name, future in futures.items()}

    def _put(self, program, role, key):
        self._prepare_get(program, role, key)
        return program.ask(f"{self._verb(program)} {key}", PATIENCE)

    def _answer_or_asked(self, program, role):
        """The answer, or None as soon as the endpoint is asked: a virtual machine takes seconds until it is."""
        while not self.stage.credentials_asked(role) and (waited := time.time() - program.sent) < PATIENCE:
            if answer := program.answer(waited + 0.05):
                return answer
        return None

    def _prepare_get(self, program, role, key):
        if program.reads_only:
            self.stage.write(role, key)

    @staticmethod
    def _verb(program):
        return "get" if program.reads_only else "put"

    @staticmethod
    def _must(result, step, answer):
        result.checks.setdefault(step, Check(answer.ok, answer.said))

    @staticmethod
    def _sleep_past(expiration):
        # Vended expiries are rounded down to seconds.
        expiry = datetime.datetime.fromisoformat(expiration).timestamp()
        time.sleep(max(0.0, expiry + 1.1 - time.time()))


def verdict(said, refusal):
    """Can the user of this client tell what to do?"""
    if refusal["message"] in said:
        return "roletap's message"
    lowered = said.lower()
    if "401" in lowered or refusal["code"].lower() in lowered:
        return "the status"
    if "credential" in lowered:
        return "that credentials are missing"
    return "nothing"
