"""Asks grpc.health.v1.Health/Check over plain HTTP/2 with nothing but the standard library.

One request on one connection, so the client needs no HPACK decoder: what counts is the DATA of
the answer, and that the stream ended.
"""
import socket
import struct
import time

SERVING = b"\x08\x01"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def text(value):
    return bytes([len(value)]) + value.encode()  # below 127 bytes, not Huffman coded


def request(authority):
    headers = (b"\x83\x86"  # :method POST, :scheme http
               + b"\x04" + text("/grpc.health.v1.Health/Check")
               + b"\x01" + text(authority)
               + b"\x0f\x10" + text("application/grpc")  # static name 31, content-type
               + b"\x00" + text("te") + text("trailers"))
    return (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, headers)
            + frame(DATA, END_STREAM, 1, b"\0\0\0\0\0"))


def read_exactly(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError("closed before the answer")
        data += part
    return data


def check(host, port, timeout=1.0):
    """True if the server as a whole reports SERVING."""
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.sendall(request(f"{host}:{port}"))
            answer = b""
            while True:
                head = read_exactly(connection, 9)
                size, kind, flags, stream = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:], "big")
                payload = read_exactly(connection, size)
                if kind == SETTINGS and not flags & ACK:
                    connection.sendall(frame(SETTINGS, ACK, 0))
                elif kind == PING and not flags & ACK:
                    connection.sendall(frame(PING, ACK, 0, payload))
                elif kind in (RST_STREAM, GOAWAY):
                    return False
                elif stream == 1:
                    if kind == DATA:
                        answer += payload[1:len(payload) - payload[0]] if flags & PADDED else payload
                    if flags & END_STREAM:
                        return answer[5:] == SERVING
    except OSError:
        return False


def wait(host, port, deadline, is_alive):
    """Polls until SERVING; raises when the time is over or the process has ended."""
    while not check(host, port):
        if not is_alive():
            raise RuntimeError(f"the server for port {port} ended before it was SERVING")
        if time.monotonic() > deadline:
            raise TimeoutError(f"port {port} does not report SERVING in time")
        time.sleep(0.05)
