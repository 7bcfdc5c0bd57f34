"""deltalake: one table, kept open and appended to, as a sink does; object_store's own credential chain."""

import deltalake
import pyarrow

import protocol

STORE = {"aws_endpoint_url": protocol.ENDPOINT, "aws_region": protocol.REGION, "aws_allow_http": "true"}


class Delta:
    def __init__(self):
        self.tables = {}

    def write(self, bucket, key, text):
        rows = pyarrow.table({"key": [key], "text": [text]})
        if bucket not in self.tables:
            address = f"s3://{bucket}/{protocol.PREFIX}/table"
            # It may be there already, from a line that wrote it and then failed.
            deltalake.write_deltalake(address, rows, mode="append", storage_options=STORE)
            self.tables[bucket] = deltalake.DeltaTable(address, storage_options=STORE)
        else:
            deltalake.write_deltalake(self.tables[bucket], rows, mode="append")

    def read(self, bucket, key):
        table = self.tables[bucket]
        table.update_incremental()
        return table.to_pyarrow_table(filters=[("key", "=", key)])["text"][0].as_py()


protocol.live(f"deltalake {deltalake.__version__}", Delta)
