"""aiobotocore: one client on one event loop, which runs only while a line is obeyed."""

import asyncio
import contextlib

import aiobotocore
from aiobotocore.session import get_session

import protocol

loop = asyncio.new_event_loop()


class Aiobotocore:
    def __init__(self):
        self.stack = contextlib.AsyncExitStack()
        self.s3 = loop.run_until_complete(self.stack.enter_async_context(get_session().create_client("s3")))

    def write(self, bucket, key, text):
        loop.run_until_complete(self.s3.put_object(Bucket=bucket, Key=key, Body=text.encode()))

    def read(self, bucket, key):
        return loop.run_until_complete(self._read(bucket, key))

    async def _read(self, bucket, key):
        answer = await self.s3.get_object(Bucket=bucket, Key=key)
        async with answer["Body"] as body:
            return (await body.read()).decode()


protocol.live(f"aiobotocore {aiobotocore.__version__}", Aiobotocore)
