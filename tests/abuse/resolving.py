"""An upstream whose name does not resolve costs nobody else anything (rule G20)."""
import threading

from lab import Server, expect


def lost_name(binary, short):
    callers = 60 if short else 600
    with Server(binary, upstream="no-such-host.invalid:80") as server:
        before = server.count("task")
        statuses, most, lock = {}, [before], threading.Lock()

        def call(number):
            try:
                status = server.ask("/lab/x", server.secret_headers(), source=f"127.0.8.{1 + number // 100}", timeout=30)[0]
            except OSError as error:
                status = type(error).__name__
            with lock:
                statuses[status] = statuses.get(status, 0) + 1
                most[0] = max(most[0], server.count("task"))

        threads = [threading.Thread(target=call, args=(number,)) for number in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    expect(most[0] < before + 16, f"{callers} callers make {most[0]} threads of {before}")
    expect(set(statuses) <= {502, 503, 429, 504} and statuses.get(502), f"the callers get {statuses}")
    return f"{callers} callers get {statuses}; at most {most[0]} threads, {before} before"
