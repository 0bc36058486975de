"""Adds latency to the connections of a PostgreSQL: latency.py URL MILLISECONDS FILE [CERTIFICATE KEY]

Listens on a free port of 127.0.0.1, writes the number of the port to FILE, and passes all bytes on to the Unix socket of URL. A
round trip takes MILLISECONDS longer, half of them in each direction. With a certificate, clients must use TLS, which ends
in this program. So the round trips of the handshake are delayed like all others. Ends when its standard input is closed.
"""

import asyncio
import os
import queue
import signal
import socket
import ssl
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

PIECE = 65536
WINDOW = 64  # pieces on their way, so 4 MiB per direction
SSL_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])


def relay(source, target, delay):
    """Passes bytes on in one direction, `delay` seconds after their arrival. The order and the ends are kept."""
    on_the_way = queue.Queue(WINDOW)

    def deliver():
        while True:
            due, piece = on_the_way.get()
            time.sleep(max(due - time.monotonic(), 0))
            try:
                if not piece:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(piece)
            except OSError:
                source.close()
                return

    threading.Thread(target=deliver, daemon=True).start()
    piece = b" "
    while piece:
        try:
            piece = source.recv(PIECE)
        except OSError:
            piece = b""
        on_the_way.put((time.monotonic() + delay, piece))


def serve_delayed(listener, connect, delay):
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = connect()
        for pair in ((client, server), (server, client)):
            threading.Thread(target=relay, args=(*pair, delay), daemon=True).start()


async def serve_tls(listener, path, context):
    """Ends TLS: answers the client's request for it, and passes the decrypted bytes on to the Unix socket."""

    async def pump(reader, writer):
        try:
            while piece := await reader.read(PIECE):
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass  # the other direction ends too
        finally:
            writer.close()

    async def client(reader, writer):
        if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
            writer.close()
            return
        # Otherwise Nagle's algorithm delays small answers by 40 ms. asyncio sets this for sockets of its own alone.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        writer.write(b"S")
        await writer.start_tls(context)
        server_reader, server_writer = await asyncio.open_unix_connection(path)
        await asyncio.gather(pump(reader, server_writer), pump(server_reader, writer))

    server = await asyncio.start_server(client, sock=listener)
    await server.serve_forever()


def unix_socket(path):
    server = socket.socket(socket.AF_UNIX)
    server.connect(path)
    return server


def main():
    # Ctrl-C ends the caller, which closes the standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    url, milliseconds, file, *pair = sys.argv[1:]
    query = parse_qs(urlsplit(url).query)
    path = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"
    listener = socket.create_server(("127.0.0.1", 0))

    def connect():
        return unix_socket(path)

    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        inner = socket.create_server(("127.0.0.1", 0))
        address = inner.getsockname()

        def connect():
            server = socket.create_connection(address)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return server

        threading.Thread(target=asyncio.run, args=(serve_tls(inner, path, context),), daemon=True).start()
    delay = float(milliseconds) / 2000
    threading.Thread(target=serve_delayed, args=(listener, connect, delay), daemon=True).start()
    with open(f"{file}.new", "w", encoding="ascii") as new:
        new.write(str(listener.getsockname()[1]))
    os.replace(f"{file}.new", file)
    sys.stdin.read()


main()
