"""What the runners share: pinned installations, an empty environment, MiniStack, and children that do not outlive them."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
INSTALL_TIMEOUT = 900


ROOT = HERE.parent.parent
NOTHING_SHOWN = 77  # the exit code of a runner that could not show anything here


class Failure(Exception):
    """The stage could not be set; says what to do about it."""


def say(line):
    print(line, file=sys.stderr, flush=True)


def left_out(what, why):
    """Says what is not shown on this machine, and adds it to the list that check.sh ends with."""
    say(f"SKIPPED, {what}: {why}")
    if report := os.environ.get("ROLETAP_NOT_SHOWN"):
        with open(report, "a") as file:
            file.write(f"{what}: {why}\n")


def built(program):
    """The path of `roletap` or `fake-sts`, which cargo builds if need be."""
    done = subprocess.run([ROOT / "tests/built", program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failure(f"cargo could not build {program}")
    return pathlib.Path(done.stdout.strip())


def is_offline():
    """`check.sh --offline`: nothing may be fetched."""
    return "ROLETAP_OFFLINE" in os.environ


# Installing, all pinned, each only when its pins have changed.


@contextlib.contextmanager
def locked(cache):
    """Two runners do not install into one place at once."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install_ministack(cache):
    return install_python(cache / "ministack", HERE / "requirements/ministack.txt")


def install_python(venv, requirements):
    def make():
        install_step([sys.executable, "-m", "venv", venv], "the venv module")
        pip = [venv / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        install_step([*pip, "--no-deps", "--only-binary=:all:", "-r", requirements], "PyPI")

    return unless_unchanged(venv, [requirements], make)


def unless_unchanged(target, pins, make, also=""):
    pinned = [platform.python_version().encode(), also.encode(), *(pin.read_bytes() for pin in pins)]
    wanted = hashlib.sha256(b"\0".join(pinned)).hexdigest()
    stamp = target / ".installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        if is_offline():
            raise Failure(f"{target.name} is not installed yet, and --offline forbids to fetch it")
        shutil.rmtree(target, ignore_errors=True)
        say(f"installing {target.name} …")
        make()
        stamp.write_text(wanted)
    return target


def install_step(command, needs, cwd=None, environment=None):
    command = [str(part) for part in command]
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_TIMEOUT,
        )
    except FileNotFoundError:
        raise Failure(f"{command[0]} is not installed; it is needed to install the clients") from None
    except subprocess.TimeoutExpired:
        raise Failure(f"no end after {INSTALL_TIMEOUT} s: {' '.join(command)}") from None
    if done.returncode != 0:
        said = "\n".join((done.stderr + done.stdout).strip().splitlines()[-15:])
        raise Failure(f"could not install; is {needs} within reach?\n$ {' '.join(command)}\n{said}")


# The stage.


def clean_environment(home):
    """For a child: nothing of ours but the path."""
    home.mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",  # beside the programs
    }


def start_ministack(processes, venv, environment, cwd):
    """MiniStack, which enforces policies and refuses foreign credentials; its URL, once it answers."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    enforcing = {"AUTH": "true", "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)}
    processes.start("ministack", [venv / "bin/ministack"], environment | enforcing, cwd=cwd)
    processes.wait_for("ministack", f"{endpoint}/_ministack/health")
    return endpoint


# Children, none of which outlives the runner.


class Processes:
    def __init__(self, logs):
        self.logs, self.children = logs, {}
        logs.mkdir(parents=True)

    def start(self, name, command, environment, cwd=None, talks=False):
        pipe = subprocess.PIPE if talks else None
        with (self.logs / f"{name.replace(' ', '-')}.log").open("a") as log:  # one that comes back goes on
            child = subprocess.Popen(
                [str(part) for part in command],
                env=environment, cwd=cwd, text=True, start_new_session=True,
                stdin=pipe or subprocess.DEVNULL, stdout=pipe or log, stderr=log,
            )
        self.children[name] = child
        return child

    def wait_for(self, name, url, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if (code := self.children[name].poll()) is not None:
                raise Failure(f"{name} ended with exit code {code}:\n{self.tail(name)}")
            with contextlib.suppress(OSError):
                get(url)
                return
            time.sleep(0.1)
        raise Failure(f"{name} was not ready at {url} within {seconds} s:\n{self.tail(name)}")

    def tail(self, name):
        return "\n".join((self.logs / f"{name}.log").read_text(errors="replace").splitlines()[-15:])

    def stop(self):
        """The whole process group of each child; the daemon and MiniStack, started first, go last."""
        for child in reversed(self.children.values()):
            self._signal(child, signal.SIGTERM)
        deadline = time.monotonic() + 5
        for child in self.children.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=max(0, deadline - time.monotonic()))
            self._signal(child, signal.SIGKILL)
            child.wait()
        self.children = {}

    @staticmethod
    def _signal(child, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)


def run(command, environment):
    """A short command's standard output."""
    command = [str(part) for part in command]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise Failure(f"exit code {done.returncode}: {' '.join(command)}\n{done.stderr.strip()}")
    return done.stdout


def get(url, headers={}):
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(urllib.request.Request(url, headers=headers), timeout=5) as answer:
        return answer.read().decode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
