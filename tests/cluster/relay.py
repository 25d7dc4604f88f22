#!/usr/bin/env python3
"""Makes the node's API server reachable at a port of 127.0.0.1, although the node has a network of its own: listens
here, then enters the node's network and connects from there.

    relay.py NODE_PID ADDRESS PORT OUT      writes the number of its port to OUT
"""

import asyncio
import ctypes
import os
import socket
import sys

CLONE_NEWNET = 0x40000000  # <sched.h>


async def pump(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(listening, address, port):
    async def accept(reader, writer):
        try:
            inner_reader, inner_writer = await asyncio.open_connection(address, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    server = await asyncio.start_server(accept, sock=listening)
    async with server:
        await server.serve_forever()


def enter(pid):
    """The sockets made before stay where they were made."""
    libc = ctypes.CDLL(None, use_errno=True)
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    if libc.setns(network, CLONE_NEWNET) != 0:
        sys.exit(f"cannot enter the network of process {pid}: {os.strerror(ctypes.get_errno())}")
    os.close(network)


def main():
    pid, address, port, out = sys.argv[1:]
    listening = socket.create_server(("127.0.0.1", 0))
    enter(pid)
    with open(f"{out}.new", "w", encoding="ascii") as file:
        file.write(str(listening.getsockname()[1]))
    os.rename(f"{out}.new", out)
    asyncio.run(serve(listening, address, int(port)))


main()
