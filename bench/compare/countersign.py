"""Countersign under test: made by `quickstart`, then run by `serve` on its configuration with five lines changed."""
import base64
import collections
import http.client
import json
import os
import pathlib
import re
import signal
import ssl
import subprocess
import time
import urllib.parse

from nginx import free_port
from processes import SERVER_CORE, Process

Client = collections.namedtuple("Client", "root chain key id")


LARGE = "100,000 clients, 1,000,000 certificates, 100,000 revocations"


# So that one client may hold 5,000 of them: a quarter of all are one client's at most.
MANY_CONNECTIONS = "\n[limits]\nconnections = 24000\nconnections_per_client = 6000\n"


class Server(Process):
    def __init__(self, root, directory, material, upstream, results, large=False, binary=None, name=None, limits=""):
        """`binary` is another one than the present build; `name` tells whose figures it gives; `limits` is configuration."""
        self.binary = binary or root / "target" / "release" / "countersign"
        self.directory, self.material = directory, material
        directory.parent.mkdir(parents=True, exist_ok=True)
        self.log_file = directory.parent / "countersign.log"
        self.made = quickstart(self.binary, directory, self.log_file)
        production = self.made["production"]
        # nginx checks the chain up to the root, so it is given the root; Countersign pins the issuing CA itself.
        self.client = Client(self.made["ca_file"], production["cert_file"], production["key_file"], production["client_id"])
        self.token_endpoint = self.made["token_endpoint"]
        if large:
            populate(root, directory / "countersign.db")
        of = (f", {LARGE}" if large else "") + (f", {name}" if name else "")
        config = directory / "bench.toml"
        config.write_text(configuration((directory / "countersign.toml").read_text(), material, upstream.address) + limits)
        without_token_limit(self.binary, config)
        started = time.monotonic()
        super().__init__([self.binary, "serve", "--config", config], SERVER_CORE, self.log_file)
        self._wait_until_ready()
        results.fact(f"start to ready on an existing database{of}", f"{(time.monotonic() - started) * 1000:.0f} ms")
        results.fact(f"memory when idle (VmRSS){of}", f"{self._resident_kib() / 1024:.0f} MiB")

    def _wait_until_ready(self):
        admin = urllib.parse.urlsplit(self.made["admin"])
        for _ in range(6000):
            if self.child.poll() is not None:
                break
            try:
                connection = http.client.HTTPConnection(admin.hostname, admin.port, timeout=2)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.005)
        self.fail("countersign did not become ready")

    def _resident_kib(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE).group(1))

    def measured_pids(self):
        return [self.pid]

    def url(self):
        return self.made["production"]["url"]

    def headers(self):
        """A fresh token, bound to the client's certificate; one verification, then the cache answers."""
        return [f"authorization: Bearer {self._token()}"]

    def certificate_form(self):
        scope = self.made["production"]["scope"]
        return urllib.parse.urlencode({"grant_type": "client_credentials", "client_id": self.client.id, "scope": scope})

    def basic_header(self):
        """The secret as `client_secret_basic` sends it; neither part has a character that would need encoding."""
        sandbox = self.made["sandbox"]
        credentials = f"{sandbox['client_id']}:{sandbox['client_secret']}".encode()
        return [f"authorization: Basic {base64.b64encode(credentials).decode()}"]

    def issuing(self):
        """Address, headers and body with which an operator has a CSR certified: over plain HTTP on the loopback interface."""
        key, csr = self.directory / "bench.key", self.directory / "bench.csr"
        subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-subj", f"/CN={self.client.id}", "-keyout", key, "-out", csr], check=True, capture_output=True)
        token = pathlib.Path(self.made["admin_token_file"]).read_text().strip()
        body = json.dumps({"client": self.client.id, "csr": csr.read_text()})
        return f"{self.made['admin']}/admin/v1/certificates", [f"authorization: Bearer {token}"], body

    def _token(self):
        context = ssl.create_default_context(cafile=self.material.root)
        context.load_cert_chain(self.client.chain, self.client.key)
        endpoint = urllib.parse.urlsplit(self.token_endpoint)
        connection = http.client.HTTPSConnection(endpoint.hostname, endpoint.port, context=context, timeout=10)
        connection.request("POST", endpoint.path, self.certificate_form(),
                           {"Content-Type": "application/x-www-form-urlencoded"})
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise SystemExit(f"no token: {response.status} {body.decode(errors='replace')}")
        return json.loads(body)["access_token"]

    def flood(self, load, results, refusals):
        """Equal refusals as fast as they go: what stays in the log, and does it count all of them?"""
        before, counted_before = self._audit_log()
        run = load.run(self.url(), headers=["authorization: Bearer not.a.token"], requests=refusals, expect=401)
        # Warm-up requests are refused and recorded like the others: 200 on each of 16 connections.
        expected = refusals + 16 * 200
        for _ in range(200):
            after, counted_after = self._audit_log()
            if counted_after - counted_before >= expected:
                break
            time.sleep(0.1)
        counted = counted_after - counted_before
        results.fact(f"{expected:,} equal refusals: CPU each", f"{run['server_cpu_us_per_request']:.1f} µs")
        results.fact(f"{expected:,} equal refusals: log grown by", f"{(after - before) / 1024:,.0f} KiB, which count {counted:,}")

    def _audit_log(self):
        """Size of the log, and the number of refusals that its records stand for."""
        size = refused = 0
        for segment in sorted((self.directory / "audit").glob("audit-*.jsonl")):
            size += segment.stat().st_size
            for line in segment.read_text().splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:
                    continue  # the line that is being written
                if record.get("action") == "request_refused":
                    # A folded record counts refusals beside the one that has a record of its own.
                    refused += record["folded"]["count"] if "folded" in record else 1
        return size, refused


def quickstart(binary, directory, log):
    """Makes the directory with its demo partners and returns what `--json` says of it."""
    port = consecutive_ports(4)
    with log.open("ab") as stderr:
        child = subprocess.Popen([binary, "quickstart", "--dir", directory, "--port", str(port), "--json"],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)
    try:
        line = child.stdout.readline()
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(timeout=30)
    if not line:
        raise SystemExit(f"quickstart printed nothing; see {log}")
    return json.loads(line)


def consecutive_ports(count):
    for _ in range(100):
        first = free_port()
        if first + count < 65536:
            return first
    raise SystemExit("no free ports")


def configuration(text, material, upstream):
    """The quickstart's file, with nginx's certificate and upstream, and limits that the benchmark does not reach."""
    text = changed(r'^(\s*url = )"http://[^"]*"', rf'\1"http://{upstream}"', text)
    text = changed(r"^certificate = \{[^}]*\}", f'certificate = {{ chain = "file:{material.chain}", key = "file:{material.key}" }}',
                   text, count=1)
    # The limit is looked up on every request all the same.
    return changed(r"^rate_limit = \{[^}]*\}", 'rate_limit = { requests = 1000000, per = "1s", burst = 1000000 }', text)


def without_token_limit(binary, config):
    """Lifts the limit of tokens for one client, where the binary has one: an older one refuses the key."""
    text = config.read_text()
    config.write_text(text + '\n[oauth]\nrate_limit = { requests = 1000000, per = "1s", burst = 1000000 }\n')
    if subprocess.run([binary, "config", "check", "--config", config], capture_output=True, check=False).returncode != 0:
        config.write_text(text)


def changed(pattern, replacement, text, count=0):
    text, found = re.subn(pattern, replacement, text, count=count, flags=re.MULTILINE)
    if not found:
        raise SystemExit(f"countersign.toml has no line like {pattern}")
    return text


def populate(root, database):
    """Fills a database: an ignored test of the SQL crate, which writes it as the product does."""
    command = ["cargo", "test", "--release", "--quiet", "-p", "countersign-storage-sql", "--test", "it", "--",
               "--ignored", "a_large_installation"]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False,
                         env={**os.environ, "COUNTERSIGN_POPULATE": str(database)})
    if ran.returncode != 0 or "1 passed" not in ran.stdout:
        raise SystemExit(f"{' '.join(command)}:\n{ran.stdout}{ran.stderr}")


def gigabyte_lookup(root, work, results):
    """A reference found in a log of a gigabyte: an ignored test of the audit crate, which writes the log first."""
    command = ["cargo", "test", "--release", "--quiet", "-p", "countersign-audit", "--test", "it", "--",
               "--ignored", "--nocapture", "a_gigabyte"]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False,
                         env={**os.environ, "TMPDIR": str(work)})
    found = re.search(r"^(\d+ segments, \d+ octets): (median .*)$", ran.stdout, re.MULTILINE)
    unknown = re.search(r"^(an unknown reference.*): (.*)$", ran.stdout, re.MULTILINE)
    if ran.returncode != 0 or not found or not unknown:
        raise SystemExit(f"{' '.join(command)}:\n{ran.stdout}{ran.stderr}")
    results.fact(f"a reference found in {found.group(1)}", found.group(2))
    results.fact(unknown.group(1), unknown.group(2))
