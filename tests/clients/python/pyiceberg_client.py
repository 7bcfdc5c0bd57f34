"""PyIceberg: a table for each bucket, appended to; the catalog is a local file, the data goes by pyarrow's C++ SDK."""

import pathlib

import pyarrow
import pyiceberg
from pyiceberg.catalog.sql import SqlCatalog

import protocol

SCHEMA = pyarrow.schema([("key", pyarrow.string()), ("text", pyarrow.string())])


class Iceberg:
    def __init__(self):
        self.tables = {}
        self.catalog = SqlCatalog(
            "story",
            **{
                "uri": f"sqlite:///{pathlib.Path.home()}/catalog.sqlite",
                "s3.endpoint": protocol.ENDPOINT,
                "s3.region": protocol.REGION,
            },
        )
        self.catalog.create_namespace_if_not_exists("story")

    def write(self, bucket, key, text):
        if bucket not in self.tables:
            name = "other" if bucket == protocol.OTHER_BUCKET else "sink"
            location = f"s3://{bucket}/{protocol.PREFIX}/table"
            self.tables[bucket] = self.catalog.create_table(f"story.{name}", SCHEMA, location=location)
        self.tables[bucket].append(pyarrow.table({"key": [key], "text": [text]}, schema=SCHEMA))

    def read(self, bucket, key):
        return self.tables[bucket].scan(row_filter=f"key = '{key}'").to_arrow()["text"][0].as_py()


protocol.live(f"pyiceberg {pyiceberg.__version__}, pyarrow {pyarrow.__version__}", Iceberg)
