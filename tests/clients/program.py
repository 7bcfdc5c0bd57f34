"""A running client program: told lines, answering with lines."""

import contextlib
import dataclasses
import json
import queue
import threading
import time

from stage import say


@dataclasses.dataclass(frozen=True)
class Answer:
    ok: bool
    ms: int | None
    said: str = ""


class Program:
    def __init__(self, name, command, environment, processes, cwd):
        self.name, self.version, self.reads_only, self.per_command = name, "?", False, False
        self.process = processes.start(name, command, environment, cwd=cwd, talks=True)
        self._lines = queue.Queue()
        self._told = self._ended = False
        threading.Thread(target=self._listen, daemon=True).start()

    def hello(self, seconds):
        """The first line."""
        told = self._hear(seconds, "version")
        if isinstance(told, dict):
            self.version = told["version"]
            self.reads_only = told.get("reads_only", False)
            self.per_command = told.get("per_command", False)
        return isinstance(told, dict)

    def ask(self, line, seconds):
        self.send(line)
        return self.answer(seconds) or self.give_up(seconds)

    def send(self, line):
        self.sent = time.time()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def answer(self, seconds):
        """To the line that was sent last; None while there is none."""
        told = self._hear(max(0.0, self.sent + seconds - time.time()), "ok")
        if told is None:
            return None
        if told is False:
            return Answer(False, None, f"the program ended with exit code {self.process.wait(timeout=30)}")
        return Answer(told["ok"], told.get("ms"), str(told.get("said", "")))

    def give_up(self, seconds):
        self.process.kill()
        return Answer(False, None, f"silent for {seconds} s")

    def finish(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def _listen(self):
        with contextlib.suppress(ValueError):
            for line in self.process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def _hear(self, seconds, what):
        """The next line that has `what`; None if there was none in time, False if there will be none."""
        deadline = time.monotonic() + seconds
        while not self._ended:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            if line is None:
                self._ended = True
                break
            with contextlib.suppress(ValueError):
                told = json.loads(line)
                if isinstance(told, dict) and what in told:
                    return told
            say(f"{self.name}: {line.rstrip()}")
        return False
