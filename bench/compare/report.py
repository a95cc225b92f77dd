"""From the measurements to the table."""
import collections
import os
import pathlib
import statistics

import countersign

BEGIN, END = "<!-- bench/run --write: begin -->", "<!-- bench/run --write: end -->"

# (line, what is compared, the goal of the ratio)
COMPARED = [
    ("kept-alive", "kept-alive mTLS request, 300-byte response", 1.0),
    ("new connection", "new mTLS connection and one request", 0.40),
]
ALONE = [
    ("token, certificate", "bound ES256 token, `tls_client_auth`, kept-alive mTLS"),
    ("token, secret", "ES256 token, `client_secret_basic`, kept-alive TLS"),
    ("new connection, X25519MLKEM768", "new mTLS connection and one request, hybrid key exchange"),
    ("certificate", "certificate issued from a CSR, stored durably; 32 kept-alive connections to the admin API"),
]
NAMES = {line: what for line, what, _ in COMPARED} | dict(ALONE)


class Results:
    def __init__(self, repeats, seconds):
        self.repeats, self.seconds = repeats, seconds
        self.runs = collections.defaultdict(list)
        self.facts = []
        self.signatures_us = []

    def add(self, line, server, run):
        self.runs[line, server].append(run)

    def fact(self, what, value):
        """A figure that is no run of the load generator."""
        self.facts.append((what, value))


def render(results, nginx_version, product, command):
    lines = [f"`{command}` on {machine()}. Peer: {nginx_version}. "
             f"{results.repeats} interleaved rounds of {results.seconds} s; median (minimum to maximum).", ""]
    lines += ["| what | server | CPU µs per request | requests/s | p50 µs | p99 µs | TLS |", "|---|---|---|---|---|---|---|"]
    for line, what, _ in COMPARED:
        for server in ("nginx", "countersign"):
            lines += row(what, server, results.runs[line, server])
    lines += row("kept-alive mTLS request, without the 1 KB of token", "nginx", results.runs["kept-alive, no token", "nginx"])
    for line, what in ALONE:
        lines += row(what, "countersign", results.runs[line, "countersign"])
    if product:
        lines += ["", "| CPU per request, Countersign ÷ nginx where not said otherwise | median of the rounds | best round | goal |", "|---|---|---|---|"]
        for line, what, goal in COMPARED:
            ratios = [ours["server_cpu_us_per_request"] / theirs["server_cpu_us_per_request"] for ours, theirs in
                      zip(results.runs[line, "countersign"], results.runs[line, "nginx"], strict=True)]
            lines.append(f"| {what} | {statistics.median(ratios):.2f} | {min(ratios):.2f} | {goal:.2f} |")
        ratios = [run["server_cpu_us_per_request"] / signature for run, signature in
                  zip(results.runs["token, certificate", "countersign"], results.signatures_us, strict=True)]
        lines.append(f"| bound token ÷ one ES256 signature ({statistics.median(results.signatures_us):.1f} µs on this core) "
                     f"| {statistics.median(ratios):.2f} | {min(ratios):.2f} | 2.70 |")
        if results.runs["scale", "large"]:
            ratios = [large["server_cpu_us_per_request"] / small["server_cpu_us_per_request"] for large, small in
                      zip(results.runs["scale", "large"], results.runs["scale", "small"], strict=True)]
            lines.append(f"| kept-alive mTLS request with {countersign.LARGE} ÷ with those of quickstart "
                         f"| {statistics.median(ratios):.2f} | {min(ratios):.2f} | 1.10 |")
    if results.facts:
        lines += ["", "| what | measured |", "|---|---|"]
        lines += [f"| {what} | {value} |" for what, value in results.facts]
    return "\n".join(lines)


def row(what, server, runs):
    if not runs:
        return []
    same = {tuple(sorted((run.get("tls") or {}).items())) for run in runs}
    if len(same) != 1:
        raise SystemExit(f"{what}, {server}: TLS agreed on different things in different rounds: {same}")
    tls = runs[0].get("tls") or {}
    agreed = ", ".join(tls[name] for name in ("version", "suite", "group") if name in tls)
    figures = [spread(runs, name, digits) for name, digits in
               (("server_cpu_us_per_request", 1), ("requests_per_s", 0), ("p50_us", 0), ("p99_us", 0))]
    return [f"| {what} | {server} | {' | '.join(figures)} | {agreed} |"]


def spread(runs, name, digits):
    values = [run[name] for run in runs]
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def machine():
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "an unnamed CPU")
    cores = len(os.sched_getaffinity(0))
    shared = "" if cores > 1 else ", server and load on the same core: the latencies mean little"
    return f"{cores} cores of {model}, Linux {os.uname().release}{shared}"


def write(path, text):
    """Replaces what stands between the two marks; everything else in the page is written by people."""
    page = path.read_text()
    head, found, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not found or not end:
        raise SystemExit(f"{path}: the lines `{BEGIN}` and `{END}` are not there")
    path.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")
