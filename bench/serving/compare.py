"""Packhorse's server and llama.cpp's under the same load, in turn."""

import statistics
import sys

from peer import table

from . import load, servers

PROGRAMS = ("llama-server", "packhorse")
THROUGHPUT_TARGET = 1.5
LATENCY_CLIENTS = 8  # at so many, p99 ITL is not above the peer's


def start(program, arguments, llama_server, n_clients):
    if program == "packhorse":
        return servers.packhorse(arguments, n_clients, arguments.context)
    return servers.llama(llama_server, arguments, n_clients, arguments.context)


def measure(arguments, llama_server):
    """{clients: {program: reports, one of each repetition}}."""
    reports = {n: {program: [] for program in PROGRAMS} for n in arguments.clients}
    for repetition in range(arguments.repetitions):
        for n in arguments.clients:
            for program in sorted(PROGRAMS, reverse=repetition % 2 == 1):
                with start(program, arguments, llama_server, n) as server:
                    load.warm_up(arguments, server, n)
                    report = load.run(arguments, server, clients=n, requests=arguments.rounds * n, stagger=1,
                                      prompt_tokens=arguments.prompt_tokens, max_tokens=arguments.max_tokens)
                reports[n][program].append(report)
                print(f"{n} clients {repetition + 1}/{arguments.repetitions} {program}: "
                      f"{report['output_throughput']:.1f} tok/s, p99 ITL {report['p99_itl_ms']:.1f} ms "
                      f"{load.losses(report)}", file=sys.stderr)
    return reports


def median(reports, key):
    return statistics.median(report[key] for report in reports)


def format_table(reports):
    rows = [["clients", "server", "output tok/s", "ratio", "median ITL ms", "p99 ITL ms", "ratio", "median TTFT ms",
             "p99 TTFT ms", "requests/s", "client CPU", "server RSS MB", "lost"]]
    for n, by_program in reports.items():
        for program in PROGRAMS:
            samples = by_program[program]
            ratios = [f"{median(samples, key) / median(by_program['llama-server'], key):.2f}"
                      for key in ("output_throughput", "p99_itl_ms")]
            value = {key: median(samples, key) for key in (
                "output_throughput", "median_itl_ms", "p99_itl_ms", "median_ttft_ms", "p99_ttft_ms",
                "request_throughput", "client_cpu_share", "server_peak_rss")}
            rows.append([str(n), program, f"{value['output_throughput']:.1f}", ratios[0], f"{value['median_itl_ms']:.1f}",
                         f"{value['p99_itl_ms']:.1f}", ratios[1], f"{value['median_ttft_ms']:.0f}",
                         f"{value['p99_ttft_ms']:.0f}", f"{value['request_throughput']:.2f}",
                         f"{value['client_cpu_share']:.1%}", f"{value['server_peak_rss'] / 1e6:.0f}",
                         str(sum(report["failed"] for report in samples))])
    return "\n".join(table.aligned(rows))


def missed_targets(reports):
    """Lines of what is not as fast as it has to be."""
    missed = []
    for n, by_program in reports.items():
        peer, ours = (by_program[program] for program in PROGRAMS)
        ratio = median(ours, "output_throughput") / median(peer, "output_throughput")
        if ratio < THROUGHPUT_TARGET:
            missed.append(f"{n} clients: {ratio:.2f} of llama-server's throughput, target {THROUGHPUT_TARGET}")
        if n == LATENCY_CLIENTS and median(ours, "p99_itl_ms") > median(peer, "p99_itl_ms"):
            missed.append(f"{n} clients: p99 inter-token latency above llama-server's")
        missed += [f"{n} clients: lost {load.losses(report)}" for report in ours if report["failed"]]
    return missed
