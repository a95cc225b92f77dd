"""On a full disk nobody gets new rights, and a revocation still takes effect (rule G20)."""
import contextlib
import os
import pathlib
import subprocess
import tempfile

from lab import Server, Skipped, expect, patiently


@contextlib.contextmanager
def small_file_system(size):
    """A directory on a tmpfs of its own; needs the right to mount one."""
    with tempfile.TemporaryDirectory(prefix="abuse-") as directory:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory], capture_output=True,
                                 text=True, check=False) if os.geteuid() == 0 else None
        if mounted is None or mounted.returncode != 0:
            raise Skipped("needs root and the right to mount a tmpfs")
        try:
            yield pathlib.Path(directory)
        finally:
            subprocess.run(["umount", "-l", directory], check=False)


def fill(directory):
    """Takes every free block but the last ones that a write of 4 KiB leaves."""
    with (directory / "ballast").open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 16, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)


def full_disk(binary, short):
    with small_file_system("96m") as directory, Server(binary, directory=directory) as server:
        status, token = server.token()
        expect((status, server.call(token)) == (200, 200), "the story does not begin well")
        basic = {"authorization": server.basic(), "content-type": "application/x-www-form-urlencoded"}
        fill(directory)

        def request_token():
            return server.ask("/oauth2/token", basic, method="POST", body="grant_type=client_credentials")

        expect(patiently(lambda: request_token()[0] == 503, 30), f"tokens are still issued on a full disk: {request_token()}")
        refused = request_token()[1].decode()
        expect(server.call(token) == 200, "API calls stop on a full disk")
        ready, detail = server.admin("/readyz")

        revoked = server.cli("cert", "revoke", server.serial("acme-pay"), "--reason", "keyCompromise", "--yes")
        expect(server.call(token) == 401, f"a certificate revoked on a full disk works on: {revoked}")
        disabled = server.cli("client", "disable", "test-shop", "--yes")
        called = server.ask("/test/data/accounts", server.secret_headers())[0]
        expect(called == 401, f"a client disabled on a full disk works on ({called}): {disabled}")

        (directory / "ballast").unlink()
        expect(patiently(lambda: server.admin("/readyz")[0] == 200, 30), f"not ready with space again: {server.admin('/readyz')}")
        other = server.made["other"]
        form = f"grant_type=client_credentials&client_id={other['client_id']}"
        got = lambda: server.ask("/oauth2/token", {"content-type": basic["content-type"]}, identity=other, method="POST", body=form)
        expect(patiently(lambda: got()[0] == 200, 30), f"no token with space again: {got()}")
        expect(server.call(token) == 401, "the revoked certificate works again")
    return (f"tokens 503 ({refused[:80]}), calls 200, ready {ready} {detail.decode()[:120]}; revoke {revoked[0]}: "
            f"{revoked[1].strip().splitlines()[-1][:120]}; disable {disabled[0]}; all well with space again")
