"""S3 Connector for PyTorch: its client, which is Mountpoint's, without torch around it."""

from importlib.metadata import version

from s3torchconnectorclient._mountpoint_s3_client import MountpointS3Client

import protocol


class Mountpoint:
    def __init__(self):
        self.s3 = MountpointS3Client(protocol.REGION, endpoint=protocol.ENDPOINT, force_path_style=True)

    def write(self, bucket, key, text):
        stream = self.s3.put_object(bucket, key)
        stream.write(text.encode())
        stream.close()

    def read(self, bucket, key):
        return b"".join(self.s3.get_object(bucket, key)).decode()


protocol.live(f"s3torchconnectorclient {version('s3torchconnectorclient')}", Mountpoint)
