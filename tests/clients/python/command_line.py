"""What the command-line tools share: one process a command, and its own message when it fails."""

import os
import pathlib
import subprocess
import tempfile

SCRATCH = pathlib.Path(tempfile.mkdtemp())


def run(*command, environment={}, text=None):
    """The command's standard output; `environment` is what it needs besides."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=80, env=os.environ | environment)
    if done.returncode != 0:
        raise RuntimeError((done.stderr + done.stdout).strip() or f"exit code {done.returncode}")
    return done.stdout


def file(text):
    """A file with this text, for tools that do not read standard input."""
    path = SCRATCH / "out"
    path.write_text(text)
    return str(path)
