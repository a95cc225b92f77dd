"""An older binary and the present one in turns: did a line become dearer by more than it varies by itself?"""
import contextlib
import statistics

import countersign
import lines
import pki
import report
from processes import Load, Upstream, last_core

OLD, NEW = "old", "new"


def run(root, work, options, results, command):
    with contextlib.ExitStack() as running:
        upstream = running.enter_context(Upstream(root, work, core=last_core()))
        material = pki.server_material(work / "pki")
        servers = [
            (name, running.enter_context(
                countersign.Server(root, work / name / "data", material, upstream, results, binary=binary, name=name)))
            for name, binary in ((OLD, options.against.resolve()), (NEW, None))
        ]
        for name, server in servers:
            load = Load(root, server.client, material, server, core=last_core(), seconds=options.seconds)
            # As many as one client may have without a limit being raised, which an older binary may not know.
            lines.memory(load, server, server.headers(), 1000, name, results)
        for round_number in range(options.repeats):
            for line, measure in lines.OURS.items():
                # Every other round begins with the other binary, so that neither always meets the warmer machine.
                for name, server in servers if round_number % 2 == 0 else reversed(servers):
                    load = Load(root, server.client, material, server, core=last_core(), seconds=options.seconds)
                    results.add(line, name, measure(load, server))
    return render(results, command)


def render(results, command):
    page = [f"`{command}` on {report.machine()}. {results.repeats} interleaved rounds of {results.seconds} s; CPU µs per "
            "request, median (minimum to maximum). A line is worse if the new median is above the old maximum.", "",
            "| what | old | new | new ÷ old, median of the rounds | worse |", "|---|---|---|---|---|"]
    for line in lines.OURS:
        old, new = ([run["server_cpu_us_per_request"] for run in results.runs[line, name]] for name in (OLD, NEW))
        ratio = statistics.median(mine / theirs for mine, theirs in zip(new, old, strict=True))
        worse = "yes" if statistics.median(new) > max(old) else "no"
        figures = [report.spread(results.runs[line, name], "server_cpu_us_per_request", 1) for name in (OLD, NEW)]
        page.append(f"| {report.NAMES[line]} | {' | '.join(figures)} | {ratio:.3f} | {worse} |")
    page += ["", "| what | measured |", "|---|---|", *(f"| {what} | {value} |" for what, value in results.facts)]
    return "\n".join(page)
