"""obstore: one store for each bucket; object_store's own credential chain."""

import obstore
from obstore.store import S3Store

import protocol


class Obstore:
    def __init__(self):
        self.stores = {bucket: self.open(bucket) for bucket in (protocol.BUCKET, protocol.OTHER_BUCKET)}

    @staticmethod
    def open(bucket):
        return S3Store(bucket, endpoint=protocol.ENDPOINT, region=protocol.REGION, client_options={"allow_http": True})

    def write(self, bucket, key, text):
        obstore.put(self.stores[bucket], key, text.encode())

    def read(self, bucket, key):
        return bytes(obstore.get(self.stores[bucket], key).bytes()).decode()


protocol.live(f"obstore {obstore.__version__}", Obstore)
