"""Who holds connections open must not keep others out (rule G20)."""
import contextlib
import resource
import threading

from lab import HTTP2_START, Server, Upstream, expect, http2_get

METADATA = "/.well-known/oauth-authorization-server"


def idle_strangers(binary, short):
    """More idle TLS connections, from several addresses, than the process may have descriptors."""
    limit = 256
    with Server(binary, descriptors=(limit, limit)) as server, contextlib.ExitStack() as held:
        serial = server.serial("other-bank")
        count = turned_away = 0
        for number in range(limit + 24):
            try:
                held.enter_context(server.connect(source=f"127.0.5.{1 + number // 50}", timeout=1))
                count += 1
            except OSError:
                turned_away += 1
            if turned_away == 5:
                break
        descriptors = server.count("fd")
        for path in ("/metrics", "/livez", "/readyz"):
            status, body = server.admin(path, timeout=3)
            expect(status == 200, f"{path} is {status} while strangers hold {count} connections: {body[:300]}")
        code, printed = server.cli("cert", "revoke", serial, "--reason", "superseded", "--yes")
        expect(code == 0, f"cert revoke fails while strangers hold connections: {printed}")
    return f"{count} idle connections held, {descriptors} of {limit} descriptors; health, metrics and cert revoke answer"


def slow_api(binary, short):
    """One client, ten HTTP/2 connections, 120 streams on each, and an API that does not answer."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    release = threading.Event()

    def never(connection, _):
        release.wait(60)

    with Upstream(never) as upstream, Server(binary, descriptors=(1024, 1024), upstream=upstream.address) as server:
        before = server.ask(METADATA, source="127.0.6.1")[0]
        authority = f"localhost:{server.port}"
        with contextlib.ExitStack() as held:
            for _ in range(10):
                connection = held.enter_context(server.connect(alpn="h2"))
                streams = (http2_get(1 + 2 * n, authority, "/lab/x", server.secret_headers()) for n in range(120))
                connection.sendall(HTTP2_START + b"".join(streams))
            # Every stream has its answer or its place once this client is told that it has too many.
            status, body = server.ask("/lab/x", headers=server.secret_headers(), source="127.0.6.1")
            descriptors = server.count("fd")
            after = server.ask(METADATA, source="127.0.6.1")[0]
            other = server.token()
            expect(other[0] == 200, f"another client gets no token: {other}")
            called = server.call(other[1])
        release.set()
    expect((before, after) == (200, 200), f"others got {before} before and {after} meanwhile")
    expect(called == 200, f"another client's call to another API is answered with {called}")
    expect(status == 503, f"the client's 1,201st request in flight is answered with {status}, not 503: {body[:200]}")
    return f"1,200 streams of one client take {descriptors} descriptors; its next request is 503, others get 200"
