"""TLS in front of a plain server: `tls.py PORT CERTIFICATE KEY UPSTREAM-PORT`, on loopback, until a signal ends it."""

import asyncio
import contextlib
import ssl
import sys


async def main():
    port, certificate, key, upstream = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def serve(reader, writer):
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", int(upstream))
        await asyncio.gather(pour(reader, up_writer), pour(up_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", int(port), ssl=context)
    async with server:
        await server.serve_forever()


async def pour(reader, writer):
    with contextlib.suppress(OSError):
        while piece := await reader.read(64 * 1024):
            writer.write(piece)
            await writer.drain()
    writer.close()


asyncio.run(main())
