"""What callers took of the memory goes back to the system when they have gone (rule G20)."""
import contextlib
import pathlib
import re

from lab import Server, expect, patiently


def resident_kib(server):
    status = pathlib.Path(f"/proc/{server.child.pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE).group(1))


def gone_callers(binary, short):
    """Idle connections, each used once, that are closed all at once; then nobody calls."""
    count = 500 if short else 1000
    with Server(binary) as server:
        context = server.context(server.made["production"])
        with contextlib.ExitStack() as held:
            held.enter_context(server.connect(context=context)).close()
            before = resident_kib(server)
            for number in range(count):
                connection = held.enter_context(server.connect(context=context, source=f"127.0.8.{1 + number // 200}"))
                connection.sendall(b"GET /problems/token_missing HTTP/1.1\r\nHost: localhost\r\n\r\n")
                expect(connection.recv(65536).startswith(b"HTTP/1.1 200"), f"connection {number} is not answered")
            taken = resident_kib(server) - before
        gone = patiently(lambda: resident_kib(server) - before < taken / 2, 20)
        left = resident_kib(server) - before
        expect(gone, f"{count} connections took {taken} KiB, of which {left} KiB are kept when they have gone")
    return f"{count} idle connections took {taken / count:.0f} KiB each; {left / 1024:.0f} MiB are left when they have gone"
