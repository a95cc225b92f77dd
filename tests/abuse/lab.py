"""A server of its own for each story, and callers that do as they like."""
import base64
import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

HTTP2_START = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"

# Behind the demo's own: an upstream that a story plays itself.
LAB = """
[[upstreams]]
name = "lab"
url = "http://{upstream}"

[[routes]]
name = "lab"
environment = "sandbox"
api = "bank"
path = "/lab/"
upstream = "lab"
upstream_path = "/"
client_certificate = "optional"
token = "bearer"
scopes = ["data:read"]
internal = true
"""


class Wrong(Exception):
    """The product did what it must not do."""


class Skipped(Exception):
    """The story cannot be told here."""


def expect(true, otherwise):
    if not true:
        raise Wrong(otherwise)


class Server:
    """`countersign quickstart` in a directory of its own, with the lab's route; ended when the context is left."""

    def __init__(self, binary, descriptors=None, upstream="127.0.0.1:9", configuration="", directory=None):
        if not binary.is_file():
            raise SystemExit(f"{binary} is not there: cargo build --release")
        self.binary, self.descriptors = binary, descriptors
        self.around = None if directory else tempfile.TemporaryDirectory(prefix="abuse-")
        self.directory = pathlib.Path(directory or self.around.name) / "data"
        self.log_file = self.directory.parent / "server.log"
        self.port = consecutive_ports(4)
        self.child = None
        self._start(limited=False)
        self._stop()
        with (self.directory / "countersign.toml").open("a") as file:
            file.write(LAB.format(upstream=upstream) + configuration)

    def __enter__(self):
        self._start(limited=True)
        return self

    def __exit__(self, *_):
        self._stop()
        if self.around:
            self.around.cleanup()

    def _start(self, limited):
        def limit():
            if limited and self.descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, self.descriptors)

        command = [self.binary, "quickstart", "--dir", self.directory, "--port", str(self.port), "--json"]
        with self.log_file.open("ab") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, preexec_fn=limit)
        line = self.child.stdout.readline()
        if not line:
            raise Wrong(f"the server did not start: {self.log()[-2000:]}")
        self.made = json.loads(line)

    def _stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.child.stdout.close()

    def log(self):
        return self.log_file.read_text(errors="replace")

    def cpu_ns(self):
        """CPU time of all its threads, in nanoseconds."""
        total = 0
        for task in pathlib.Path(f"/proc/{self.child.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
        return total

    def count(self, what):
        """How many `fd` or `task` it has."""
        return len(os.listdir(f"/proc/{self.child.pid}/{what}"))

    # Callers

    def context(self, identity=None, alpn="http/1.1", chain=None):
        context = ssl.create_default_context(cafile=self.made["ca_file"])
        context.set_alpn_protocols([alpn])
        if identity:
            context.load_cert_chain(chain or identity["cert_file"], identity["key_file"])
        return context

    def connect(self, identity=None, alpn="http/1.1", source="127.0.0.1", timeout=5, context=None):
        plain = socket.create_connection(("127.0.0.1", self.port), timeout, (source, 0))
        try:
            return (context or self.context(identity, alpn)).wrap_socket(plain, server_hostname="localhost")
        except BaseException:
            plain.close()
            raise

    def secret_headers(self):
        sandbox = self.made["sandbox"]
        return {"client_id": sandbox["client_id"], "client_secret": sandbox["client_secret"]}

    def ask(self, path, headers=(), identity=None, method="GET", body=None, source="127.0.0.1", timeout=10):
        """Status and body, over a connection of its own."""
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.context(identity), timeout=timeout,
                                                 source_address=(source, 0))
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read()

    def token(self):
        """A token of the production client, bound to its certificate."""
        production = self.made["production"]
        form = f"grant_type=client_credentials&client_id={production['client_id']}"
        status, body = self.ask("/oauth2/token", identity=production, method="POST", body=form,
                                headers={"content-type": "application/x-www-form-urlencoded"})
        return status, (json.loads(body).get("access_token") if status == 200 else body.decode())

    def call(self, token, source="127.0.0.1"):
        """The status of a production call with both credentials."""
        return self.ask("/data/accounts", identity=self.made["production"], headers={"authorization": f"Bearer {token}"},
                        source=source)[0]

    def basic(self):
        sandbox = self.made["sandbox"]
        credentials = f"{sandbox['client_id']}:{sandbox['client_secret']}".encode()
        return "Basic " + base64.b64encode(credentials).decode()

    def admin(self, path, method="GET", body=None, timeout=10):
        """Status and body of the admin listener; an OSError where it does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port + 1, timeout=timeout)
        token = pathlib.Path(self.made["admin_token_file"]).read_text().strip()
        with contextlib.closing(connection):
            connection.request(method, path, body=body,
                               headers={"authorization": f"Bearer {token}", "content-type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def metric(self, name):
        """The sum of a metric over all its labels."""
        _, text = self.admin("/metrics")
        lines = re.findall(rf"^{name}(?:\{{[^}}]*\}})? ([0-9.e+]+)$", text.decode(), re.MULTILINE)
        return sum(map(float, lines))

    def cli(self, *arguments):
        """Exit code and everything that a command prints."""
        command = [self.binary, *arguments, "--dir", self.directory]
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        return ran.returncode, ran.stdout + ran.stderr

    def serial(self, client):
        """The serial number of a demo client's certificate."""
        code, printed = self.cli("cert", "list", "--client", client, "--json")
        expect(code == 0, f"cert list: {printed}")
        return re.search(r'"serial": ?"([0-9a-f]+)"', printed).group(1)

    def log_bytes(self):
        """What the operational log and the audit log take."""
        audit = sum(file.stat().st_size for file in (self.directory / "audit").iterdir())
        return self.log_file.stat().st_size, audit


class Upstream:
    """An API that a story plays: `answer(connection, head)` for each request, on threads of its own."""

    def __init__(self, answer):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.answer = answer
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            received = b""
            while True:
                while b"\r\n\r\n" not in received:
                    more = connection.recv(65536)
                    if not more:
                        return
                    received += more
                head, _, received = received.partition(b"\r\n\r\n")
                self.answer(connection, head.decode("latin1"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def http2_get(stream, authority, path, headers):
    """A HEADERS frame of a GET; its fields are literals, so that no table has to be kept."""

    def text(value):
        octets = value.encode()
        return (bytes([len(octets)]) if len(octets) < 127 else b"\x7f" + bytes([len(octets) - 127])) + octets

    fields = [(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", path), *headers.items()]
    block = b"".join(b"\0" + text(name) + text(value) for name, value in fields)
    return len(block).to_bytes(3, "big") + b"\1\5" + stream.to_bytes(4, "big") + block


def consecutive_ports(count):
    """The first of some free ports."""
    for port in range(20000 + os.getpid() % 9000, 60000, count):
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for offset in range(count):
                held.enter_context(socket.create_server(("127.0.0.1", port + offset)))
            return port
    raise SystemExit("no free ports")


def patiently(condition, seconds=10):
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()
