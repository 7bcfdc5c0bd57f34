"""DuckDB: a secret of the credential chain, which is refreshed when S3 refuses it, and `COPY`."""

import importlib.util
import pathlib

import duckdb

import protocol


class DuckDb:
    def __init__(self):
        self.database = duckdb.connect(config={"extension_directory": "extensions"})
        for name in ("httpfs", "aws"):
            self.database.load_extension(extension(name))
        host = protocol.ENDPOINT.partition("://")[2]
        self.database.execute(f"""
            CREATE SECRET (
                TYPE s3, PROVIDER credential_chain, REFRESH auto,
                ENDPOINT '{host}', URL_STYLE 'path', USE_SSL false, REGION '{protocol.REGION}'
            )""")

    def write(self, bucket, key, text):
        self.database.execute(f"COPY (SELECT '{text}' AS text) TO 's3://{bucket}/{key}' (FORMAT csv)")

    def read(self, bucket, key):
        query = f"SELECT text FROM read_csv('s3://{bucket}/{key}', header = true, columns = {{'text': 'VARCHAR'}})"
        return self.database.execute(query).fetchone()[0]


def extension(name):
    """The package's own file: nothing is downloaded."""
    package = importlib.util.find_spec(f"duckdb_extension_{name}")
    folder = pathlib.Path(package.submodule_search_locations[0])
    return str(next(folder.rglob(f"{name}.duckdb_extension")))


protocol.live(f"duckdb {duckdb.__version__}", DuckDb)
