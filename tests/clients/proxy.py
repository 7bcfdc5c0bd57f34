"""A pass-through that looks: what a client asked of a port, with which headers, and what it was answered.

It forwards bytes as they came and reads along. Of a secret it keeps nothing: of `Authorization` what `recognise` makes
of it, of a vended document the access key id and the expiry.
"""

import asyncio
import collections
import contextlib
import dataclasses
import json
import threading
import time

HEAD_LIMIT = 256 * 1024
PIECE = 64 * 1024
DOCUMENT_LIMIT = 16 * 1024  # of a vended document; the daemon promises less


@dataclasses.dataclass
class Exchange:
    """One request and its answer."""

    began: float  # wall time at which the head had arrived
    method: str
    target: str
    headers: tuple  # names, as written, in their order
    agent: str  # User-Agent
    who: str  # what `recognise` made of Authorization
    status: int | None = None
    ms: float | None = None  # until the last byte of the answer
    access_key_id: str | None = None  # vended by this answer
    expiration: str | None = None

    @property
    def ended(self):
        return self.began + (self.ms or 0) / 1000


class Tap:
    """Listens on a port of its own in front of `upstream`, on loopback."""

    def __init__(self, upstream, recognise=lambda authorization: "", holds=None, documents=False):
        """`holds(body)` is asked again and again before a request is forwarded; while it answers true, the request waits."""
        self.upstream, self.recognise, self.holds, self.documents = upstream, recognise, holds, documents
        self.exchanges = []
        self._server, self._transports = None, set()
        self._tasks = set()  # the loop itself refers to its tasks only weakly
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.port = 0
        self.open()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def open(self):
        self._call(self._open())

    def close(self):
        """As if nobody listened: connections are refused, and those that are open end."""
        self._call(self._close())

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    async def _open(self):
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, limit=HEAD_LIMIT, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self):
        self._server.close()
        for transport in list(self._transports):
            transport.abort()

    async def _connection(self, from_client, to_client):
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._transports.add(to_client.transport)
        to_daemon = None
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            from_daemon, to_daemon = await asyncio.open_connection("127.0.0.1", self.upstream, limit=HEAD_LIMIT)
            unanswered = collections.deque()
            requests = asyncio.create_task(self._requests(from_client, to_daemon, unanswered))
            try:
                await self._responses(from_daemon, to_client, unanswered)
            finally:
                requests.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                    await requests
        self._transports.discard(to_client.transport)
        for writer in filter(None, (to_client, to_daemon)):
            writer.close()

    async def _requests(self, reader, writer, unanswered):
        while head := await read_head(reader):
            exchange, headers = self._exchange(head)
            unanswered.append(exchange)
            self.exchanges.append(exchange)
            if self.holds:
                body = b"".join([part async for part in read_body(reader, headers)])
                while self.holds(body):
                    await asyncio.sleep(0.02)
                writer.write(head + body)
            else:
                writer.write(head)
                async for part in read_body(reader, headers):
                    writer.write(part)
                    await writer.drain()
            await writer.drain()
        writer.write_eof()

    async def _responses(self, reader, writer, unanswered):
        while head := await read_head(reader):
            status = int(head.split(b" ", 2)[1])
            if status < 200:  # 100 Continue
                writer.write(head)
                continue
            exchange, document = unanswered.popleft(), b""
            exchange.status = status  # before the client has it: it may tell the runner faster than this goes on
            writer.write(head)
            if exchange.method != "HEAD" and status not in (204, 304):
                async for part in read_body(reader, header_lines(head), is_answer=True):
                    writer.write(part)
                    await writer.drain()
                    if self.documents and len(document) < DOCUMENT_LIMIT:
                        document += part
            await writer.drain()
            exchange.ms = (time.time() - exchange.began) * 1000
            if self.documents and status == 200:
                with contextlib.suppress(ValueError, TypeError, AttributeError):
                    vended = json.loads(document)
                    exchange.access_key_id, exchange.expiration = vended.get("AccessKeyId"), vended.get("Expiration")

    def _exchange(self, head):
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        headers = header_lines(head)
        values = {name.lower(): value for name, value in headers}
        names = tuple(name for name, _ in headers)
        who = self.recognise(values.get("authorization", ""))
        return Exchange(time.time(), method, target, names, values.get("user-agent", ""), who), headers


# HTTP/1.1, as much of it as is needed to know where a message ends.


async def read_head(reader):
    """To the empty line, or nothing at the end of the connection."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


def header_lines(head):
    lines = head.decode("latin-1").split("\r\n")[1:]
    return [tuple(part.strip() for part in line.split(":", 1)) for line in lines if ":" in line]


async def read_body(reader, headers, is_answer=False):
    """The bytes of the body as they are on the wire, piece by piece."""
    values = {name.lower(): value.lower() for name, value in headers}
    if "chunked" in values.get("transfer-encoding", ""):
        async for part in read_chunks(reader):
            yield part
    elif "content-length" in values:
        left = int(values["content-length"])
        while left > 0:
            part = await reader.read(min(left, PIECE))
            if not part:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(part)
            yield part
    elif is_answer:
        while part := await reader.read(PIECE):
            yield part


async def read_chunks(reader):
    while True:
        line = await reader.readuntil(b"\r\n")
        yield line
        size = int(line.split(b";")[0], 16)
        if size == 0:
            break
        yield await reader.readexactly(size + 2)
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":  # trailers
        yield line
    yield b"\r\n"
