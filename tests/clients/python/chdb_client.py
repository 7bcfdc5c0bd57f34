"""chdb, which is ClickHouse in a process: its table function `s3`, and one session for the whole story."""

import chdb
from chdb.session import Session

import protocol


class Chdb:
    def __init__(self):
        self.session = Session()
        self.session.query("SET s3_truncate_on_insert = 1")

    def write(self, bucket, key, text):
        self.session.query(f"INSERT INTO FUNCTION {self.table(bucket, key)} SELECT '{text}'")

    def read(self, bucket, key):
        return self.session.query(f"SELECT * FROM {self.table(bucket, key)}", "TSVRaw").data().strip()

    @staticmethod
    def table(bucket, key):
        return f"s3('{protocol.ENDPOINT}/{bucket}/{key}', 'LineAsString', 'line String')"


protocol.live(f"chdb {chdb.__version__}, ClickHouse {chdb.engine_version}", Chdb)
