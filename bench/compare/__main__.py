"""Compares Countersign with nginx; started by bench/run, which builds what this needs.

Each figure is measured in several rounds that alternate between the servers, because machines are noisy: what is
compared is the ratio inside a round. CPU time is that of the server's processes, from /proc, read by the load generator
between the end of its warm-up and its last response.
"""
import argparse
import contextlib
import pathlib
import shutil
import sys

import against
import countersign
import lines
import nginx
import pki
import report
from processes import Load, Upstream, es256_signature_us, last_core

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    options = arguments()
    work = ROOT / "target" / "bench"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    results = report.Results(repeats=options.repeats, seconds=options.seconds)
    if options.against:
        print(against.run(ROOT, work, options, results, command_line()))
        return
    with contextlib.ExitStack() as running:
        upstream = running.enter_context(Upstream(ROOT, work, core=last_core()))
        material = pki.server_material(work / "pki")
        if options.only == "nginx":
            client, product = pki.client_material(work / "pki"), None
        else:
            product = running.enter_context(
                countersign.Server(ROOT, work / "data", material, upstream, results, limits=countersign.MANY_CONNECTIONS))
            client = product.client
        peer = running.enter_context(nginx.Server(work / "nginx", material, client, upstream))
        idle(options, results, product, peer, client, material)
        compare(options, results, product, peer, client, material)
        if product:
            alone(options, results, product, client, material)
            if not options.quick:
                large = running.enter_context(
                    countersign.Server(ROOT, work / "large", material, upstream, results, large=True))
                scale(options, results, product, large, material)
    if product and not options.quick:
        countersign.gigabyte_lookup(ROOT, work, results)
    text = report.render(results, nginx_version=nginx.version(), product=product is not None, command=command_line())
    print(text)
    if options.write:
        report.write(ROOT / "docs" / "benchmarks.md", text)


def idle(options, results, product, peer, client, material):
    """What idle connections take of either server's memory, before anything else has used it."""
    for name, server in [("nginx", peer)] + ([("countersign", product)] if product else []):
        load = Load(ROOT, client, material, server, core=last_core(), seconds=options.seconds)
        headers = product.headers() if product else []
        lines.memory(load, server, headers, 500 if options.quick else 5000, name, results)


def compare(options, results, product, peer, client, material):
    """The two lines that both servers can do, with the same request to both: the peer carries the token along."""
    servers = [("nginx", peer)] + ([("countersign", product)] if product else [])
    for round_number in range(options.repeats):
        headers = product.headers() if product else []
        # Every other round begins with the other server, so that neither always meets the warmer machine.
        for name, server in servers if round_number % 2 == 0 else reversed(servers):
            load = Load(ROOT, client, material, server, core=last_core(), seconds=options.seconds)
            results.add("kept-alive", name, lines.kept_alive(load, server, headers))
            results.add("new connection", name, lines.new_connection(load, server, headers))
            if server is peer and product:
                results.add("kept-alive, no token", name, load.run(server.url(), connections=16))


def alone(options, results, product, client, material):
    """What only Countersign does."""
    load = Load(ROOT, client, material, product, core=last_core(), seconds=options.seconds)
    for _ in range(options.repeats):
        results.signatures_us.append(es256_signature_us(ROOT))
        for line, measure in lines.ALONE.items():
            results.add(line, "countersign", measure(load, product))
    product.flood(load, results, refusals=10_000 if options.quick else 100_000)


def scale(options, results, small, large, material):
    """The same request to two servers of ours, one of which knows a hundred thousand clients."""
    servers = [("small", small), ("large", large)]
    for round_number in range(options.repeats):
        for name, server in servers if round_number % 2 == 0 else reversed(servers):
            load = Load(ROOT, server.client, material, server, core=last_core(), seconds=options.seconds)
            results.add("scale", name, lines.kept_alive(load, server, server.headers()))


def arguments():
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="two short rounds and smaller logs: does it work, not how fast")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--repeats", type=int, help="rounds (7, or 2 with --quick)")
    parser.add_argument("--seconds", type=int, help="length of each measurement (4, or 1 with --quick)")
    parser.add_argument("--only", choices=["nginx"], help="the peer alone; needs no product")
    parser.add_argument("--against", type=pathlib.Path, metavar="BINARY",
                        help="an older countersign instead of nginx: every line of ours, old and new in turns")
    options = parser.parse_args()
    options.repeats = options.repeats or (2 if options.quick else 7)
    options.seconds = options.seconds or (1 if options.quick else 4)
    if not 1 <= options.repeats <= 100 or not 1 <= options.seconds <= 60:
        parser.error("1 to 100 rounds of 1 to 60 seconds")
    if options.against and not options.against.is_file():
        parser.error(f"{options.against} is not a file")
    return options


def command_line():
    return " ".join(["bench/run", *sys.argv[1:]])


if __name__ == "__main__":
    main()
