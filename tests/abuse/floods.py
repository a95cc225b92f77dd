"""A caller at full speed fills neither the log nor the disk (rule G20)."""
import http.client
import re
import secrets
import threading
import time

from lab import Server, expect, patiently

THREADS = 4
FORM = {"content-type": "application/x-www-form-urlencoded"}


def flood(server, seconds, request):
    """Sends `request()` = (method, path, body, headers) on kept-alive connections for some seconds; statuses and counts."""
    end = time.monotonic() + seconds
    statuses, lock = {}, threading.Lock()

    def one():
        connection = http.client.HTTPSConnection("localhost", server.port, context=server.context(), timeout=10)
        mine = {}
        while time.monotonic() < end:
            method, path, body, headers = request()
            try:
                connection.request(method, path, body=body, headers=headers)
                answer = connection.getresponse()
                answer.read()
                mine[answer.status] = mine.get(answer.status, 0) + 1
            except (OSError, http.client.HTTPException):
                connection.close()
                mine["closed"] = mine.get("closed", 0) + 1
        connection.close()
        with lock:
            for status, count in mine.items():
                statuses[status] = statuses.get(status, 0) + count

    threads = [threading.Thread(target=one) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def equal_refusals(binary, short):
    """The same refusal again and again: folded in both logs."""
    return refusals(binary, 2 if short else 5, lambda: ("GET", "/data/accounts", None, {"authorization": "Bearer not.a.token"}))


def varied_refusals(binary, short):
    """Refusals that differ in everything that a caller chooses: path, token, user agent, client identifier."""

    def request():
        noise = secrets.token_hex(12)
        return ("GET", f"/{noise}/x", None, {"authorization": f"Bearer {noise}", "user-agent": noise, "client_id": noise})

    return refusals(binary, 2 if short else 5, request)


def refusals(binary, seconds, request):
    with Server(binary) as server:
        before = server.log_bytes()
        statuses = flood(server, seconds, request)
        count = sum(statuses.values())
        expect(200 not in statuses and count > 100, f"the flood got {statuses}")
        # The audit log is written within 100 ms.
        time.sleep(0.5)
        grown = [after - earlier for after, earlier in zip(server.log_bytes(), before, strict=True)]
    for name, octets in zip(("operational log", "audit log"), grown, strict=True):
        # A few full records for each second, whatever the speed of the flood.
        expect(octets < 400_000, f"{count} refusals grow the {name} by {octets:,} bytes")
    return f"{count:,} refusals grow the operational log by {grown[0]:,} and the audit log by {grown[1]:,} bytes"


def tokens(binary, short):
    """One client requests tokens as fast as it can."""
    seconds = 3 if short else 8
    with Server(binary) as server:
        headers = {**FORM, "authorization": server.basic()}
        before = server.log_bytes()
        statuses = flood(server, seconds, lambda: ("POST", "/oauth2/token", "grant_type=client_credentials", headers))
        time.sleep(0.5)
        grown = [after - earlier for after, earlier in zip(server.log_bytes(), before, strict=True)]
        expect(set(statuses) <= {200, 429} and statuses.get(200), f"the flood got {statuses}")
        if not short:
            # The development build may be too slow to reach the budget.
            expect(statuses.get(429), f"no budget: {statuses}")
        other = server.token()
        expect(other[0] == 200, f"another client gets no token meanwhile: {other}")
        if statuses.get(429):
            expect(patiently(lambda: server.ask("/oauth2/token", headers, method="POST",
                                                body="grant_type=client_credentials")[0] == 200),
                   "the client's budget does not come back")
        listed = server.cli("audit", "list", "--json")[1]
    expect(sum(grown) < 2_000_000, f"{statuses} grow the logs by {grown} bytes")
    expect(re.search("token", listed), "the audit log does not tell of the tokens")
    return f"{statuses} in {seconds} s grow the operational log by {grown[0]:,} and the audit log by {grown[1]:,} bytes"
