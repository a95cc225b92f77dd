"""Starting, pinning and ending processes; the load generator."""
import json
import os
import pathlib
import signal
import subprocess

SERVER_CORE = min(os.sched_getaffinity(0))


def last_core():
    """Where everything but the server under test runs. On a machine of one core that is the server's own."""
    return max(os.sched_getaffinity(0))


class Process:
    """A child pinned to one core, ended by its process id when the context is left."""

    def __init__(self, command, core, log, stop_signal=signal.SIGTERM, stdout=None):
        self.log = pathlib.Path(log)
        self.stop_signal = stop_signal
        with self.log.open("ab") as stderr:
            self.child = subprocess.Popen(["taskset", "-c", str(core), *map(str, command)],
                                          stdin=subprocess.DEVNULL, stdout=stdout or stderr, stderr=stderr)

    @property
    def pid(self):
        return self.child.pid  # taskset replaces itself with the command

    def fail(self, why):
        self.stop()
        raise SystemExit(f"{why}; the end of {self.log}:\n" + "\n".join(self.log.read_text().splitlines()[-15:]))

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(self.stop_signal)
            try:
                self.child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Upstream(Process):
    """The same 300 bytes of JSON for every request."""

    def __init__(self, root, work, core):
        super().__init__([generator(root), "upstream"], core, work / "upstream.log", stdout=subprocess.PIPE)
        self.address = self.child.stdout.readline().decode().strip()
        if not self.address:
            self.fail("the upstream did not start")


class Load:
    """Runs of the load generator against one server."""

    def __init__(self, root, client, server_material, server, core, seconds):
        self.root, self.client, self.material = root, client, server_material
        self.server, self.core, self.seconds = server, core, seconds

    def run(self, url, headers=(), form=None, json_body=None, connections=16, mode="kept-alive", identity=True, expect=200,
            requests=None, group="x25519"):
        command = ["taskset", "-c", str(self.core), generator(self.root), "load", "--url", url, "--ca", self.material.root,
                   "--mode", mode, "--connections", connections, "--expect", expect, "--group", group]
        command += ["--requests", requests, "--duration", 600] if requests else ["--duration", self.seconds]
        command += ["--warm-up", 2 if mode == "new-connection" else 200]
        if identity:
            command += ["--cert", self.client.chain, "--key", self.client.key]
        for header in headers:
            command += ["--header", header]
        if form:
            command += ["--form", form]
        if json_body:
            command += ["--json", json_body]
        for pid in self.server.measured_pids():
            command += ["--cpu-of", pid]
        return self._json(url, command)

    def hold(self, url, headers, connections):
        """Idle connections that were used once, and what they take of the server's memory."""
        command = ["taskset", "-c", str(self.core), generator(self.root), "hold", "--url", url, "--ca", self.material.root,
                   "--connections", connections, "--cert", self.client.chain, "--key", self.client.key]
        for header in headers:
            command += ["--header", header]
        for pid in self.server.measured_pids():
            command += ["--cpu-of", pid]
        return self._json(url, command)

    def _json(self, url, command):
        ran = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                             timeout=700)
        # A measurement in which requests failed would be a wrong figure, not a noisy one.
        if ran.returncode != 0:
            raise SystemExit(f"{url}: {ran.stdout.strip() or ran.stderr.strip()}")
        return json.loads(ran.stdout)


def es256_signature_us(root):
    """What one signature costs on the servers' core."""
    ran = subprocess.run(["taskset", "-c", str(SERVER_CORE), generator(root), "calibrate"], capture_output=True, text=True,
                         check=True)
    return json.loads(ran.stdout)["es256_signature_us"]


def generator(root):
    return root / "target" / "release" / "countersign-bench"
