"""restic: one process a command, and a repository for each object."""

import sys

import command_line
import protocol

RESTIC = sys.argv[1]


class Restic:
    def write(self, bucket, key, text):
        self.run(bucket, key, "init")
        self.run(bucket, key, "backup", "--stdin", "--stdin-filename=object", text=text)

    def read(self, bucket, key):
        return self.run(bucket, key, "dump", "latest", "/object")

    @staticmethod
    def run(bucket, key, *arguments, text=None):
        settings = {"RESTIC_REPOSITORY": f"s3:{protocol.ENDPOINT}/{bucket}/{key}", "RESTIC_PASSWORD": "of no secret"}
        options = ["--quiet", "--no-cache", "-o", "s3.bucket-lookup=path"]
        return command_line.run(RESTIC, *options, *arguments, environment=settings, text=text)


version = command_line.run(RESTIC, "version").split()[1]
protocol.live(f"restic {version}", Restic, per_command=True)
