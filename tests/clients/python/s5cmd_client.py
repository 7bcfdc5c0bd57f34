"""s5cmd: one process a command."""

import pathlib
import sys

import command_line
import protocol

S5CMD = str(pathlib.Path(sys.executable).parent / "s5cmd")


class S5cmd:
    def write(self, bucket, key, text):
        self.run("cp", command_line.file(text), f"s3://{bucket}/{key}")

    def read(self, bucket, key):
        return self.run("cat", f"s3://{bucket}/{key}")

    @staticmethod
    def run(*arguments):
        # Otherwise it tries ten times, for minutes.
        return command_line.run(S5CMD, "--retry-count=1", "--endpoint-url", protocol.ENDPOINT, *arguments)


version = command_line.run(S5CMD, "version").strip()
protocol.live(f"s5cmd {version.removeprefix('v')}", S5cmd, per_command=True)
