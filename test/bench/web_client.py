"""Asks for /state/summary again and again over a unix socket; prints requests, seconds and bytes of a body.

web_client.py SOCKET ACCEPT-ENCODING SECONDS CONNECTIONS
"""

import re
import selectors
import socket
import sys
import time

path, accept, seconds, connections = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
request = f"GET /state/summary HTTP/1.1\r\nHost: bench\r\nAccept-Encoding: {accept}\r\n\r\n".encode()
selector = selectors.DefaultSelector()
for _ in range(connections):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    client.setblocking(False)
    client.sendall(request)
    selector.register(client, selectors.EVENT_READ, bytearray())
done, body = 0, 0
began = time.monotonic()
while time.monotonic() < began + seconds:
    for key, _ in selector.select():
        got = key.data
        piece = key.fileobj.recv(1 << 20)
        assert piece, "the server has closed the connection"
        got += piece
        head = got.find(b"\r\n\r\n")
        if head < 0:
            continue
        assert got.startswith(b"HTTP/1.1 200"), bytes(got[:head])
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", got[:head])
        # nginx, which compresses as it sends, does not know it
        if length is None and not got.endswith(b"\r\n0\r\n\r\n"):
            continue
        if length and len(got) < head + 4 + int(length[1]):
            continue
        body = len(got) - head - 4
        done += 1
        got.clear()
        key.fileobj.sendall(request)
print(done, time.monotonic() - began, body)
