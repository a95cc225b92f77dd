"""A peer that says nothing does not hold the shutdown (rule G20)."""
import signal
import subprocess
import time

from lab import HTTP2_START, Server, Wrong, expect


def silent_peer(binary, short):
    with Server(binary) as server:
        connection = server.connect(alpn="h2")
        connection.sendall(HTTP2_START)
        connection.recv(9)  # its SETTINGS: the connection stands
        plain = server.connect()
        started = time.monotonic()
        server.child.send_signal(signal.SIGTERM)
        try:
            code = server.child.wait(timeout=9)
        except subprocess.TimeoutExpired:
            raise Wrong("a silent HTTP/2 connection holds the shutdown for its whole time") from None
        took = time.monotonic() - started
        connection.close()
        plain.close()
    expect(code == 0, f"the exit code is {code}")
    expect(took < 5, f"the shutdown took {took:.1f} s")
    return f"stopped in {took:.1f} s beside a silent HTTP/2 and a silent HTTP/1.1 connection"
