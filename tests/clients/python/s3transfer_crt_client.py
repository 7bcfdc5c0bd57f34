"""s3transfer over the CRT's S3 client, as boto3[crt] has it, but with the CRT's own credential chain.

boto3 itself hands botocore's credentials to the CRT, and lets it speak TLS only (boto3/crt.py, `_create_crt_client`).
"""

import io

import awscrt
import botocore.session
import s3transfer
from awscrt.auth import AwsCredentialsProvider
from s3transfer.crt import BotocoreCRTRequestSerializer, CRTTransferManager, create_s3_crt_client

import protocol


class Crt:
    def __init__(self):
        chain = AwsCredentialsProvider.new_default_chain()
        client = create_s3_crt_client(protocol.REGION, crt_credentials_provider=chain, use_ssl=False)
        settings = {"region_name": protocol.REGION, "endpoint_url": protocol.ENDPOINT}
        self.manager = CRTTransferManager(client, BotocoreCRTRequestSerializer(botocore.session.Session(), settings))

    def write(self, bucket, key, text):
        self.manager.upload(io.BytesIO(text.encode()), bucket, key).result()

    def read(self, bucket, key):
        into = io.BytesIO()
        self.manager.download(bucket, key, into).result()
        return into.getvalue().decode()


protocol.live(f"s3transfer {s3transfer.__version__}, awscrt {awscrt.__version__}", Crt)
