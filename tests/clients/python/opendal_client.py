"""OpenDAL: one operator for each bucket, without layers, so nothing is tried twice; reqsign's credential chain."""

from importlib.metadata import version

import opendal

import protocol


class Dal:
    def __init__(self):
        self.operators = {bucket: self.open(bucket) for bucket in (protocol.BUCKET, protocol.OTHER_BUCKET)}

    @staticmethod
    def open(bucket):
        return opendal.Operator("s3", bucket=bucket, root="/", endpoint=protocol.ENDPOINT, region=protocol.REGION)

    def write(self, bucket, key, text):
        self.operators[bucket].write(key, text.encode())

    def read(self, bucket, key):
        return bytes(self.operators[bucket].read(key)).decode()


protocol.live(f"opendal {version('opendal')}", Dal)
