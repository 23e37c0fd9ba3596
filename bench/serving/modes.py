"""Measurements of Packhorse's server alone. Each prints what it finds and returns lines of what missed its target."""

import statistics

from . import load, servers

HTTP_THREADS = ("http", "http-worker")
MAX_HTTP_SHARE = 0.03
MAX_SECONDS_TO_START = 1.0
MAX_GROWTH = 0.03  # of memory, from the second quarter of a soak to its last
MAX_ITL_RATIO, MAX_TTFT_RATIO = 2.0, 3.0
LONG_PROMPT, LONG_CONTEXT = 4096, 8192


def judge(text, is_met):
    print(f"{text}: {'ok' if is_met else 'missed'}", flush=True)
    return [] if is_met else [text]


def judge_losses(report):
    return judge(f"{report['completed']} answers complete, lost: {load.losses(report) or 'none'}", not report["failed"])


def soak(arguments):
    """Streams without a pause."""
    n = arguments.streams
    with servers.packhorse(arguments, n, arguments.context) as server:
        report = load.run(arguments, server, clients=n, seconds=60 * arguments.soak, stagger=2,
                          prompt_tokens=arguments.prompt_tokens, max_tokens=arguments.max_tokens)
    memory = [sample["server_rss"] for sample in report["timeline"]]
    quarter = max(len(memory) // 4, 1)
    early, late = (statistics.median(part) for part in (memory[quarter:2 * quarter] or memory, memory[-quarter:]))
    print(f"{n} streams for {report['duration']:.0f} s: {report['output_throughput']:.1f} tok/s, "
          f"p99 ITL {report['p99_itl_ms']:.1f} ms, client CPU {report['client_cpu_share']:.1%}")
    print("memory, MB: " + " ".join(f"{value / 1e6:.0f}" for value in memory[::max(len(memory) // 20, 1)]))
    growth = late / early - 1
    return judge_losses(report) + judge(f"memory grew by {growth:+.1%}, target {MAX_GROWTH:.0%}", growth <= MAX_GROWTH)


def queued(arguments):
    """All clients connect, then all ask."""
    n = arguments.queued
    with servers.packhorse(arguments, arguments.streams, arguments.context) as server:
        report = load.run(arguments, server, connect_only=n, prompt_tokens=32, max_tokens=16)
    print(f"{n} clients: {report['duration']:.1f} s, last answer after {report['max_e2el_ms'] / 1000:.1f} s, "
          f"refused {report['refused']}, server RSS {report['server_peak_rss'] / 1e6:.0f} MB")
    peak = report["peak_waiting_requests"]
    return judge_losses(report) + judge(f"{peak} waited at a time of {report['peak_connections']} connected",
                                        peak >= n - arguments.streams)


def long_prompt(arguments):
    """What a long prompt does to streams that run, and they to it."""
    idle, probes = [], []
    with servers.packhorse(arguments, 16, LONG_CONTEXT) as server:
        load.warm_up(arguments, server, 8)
        for _ in range(arguments.repetitions):
            idle.append(load.run(arguments, server, clients=1, requests=1, prompt_tokens=LONG_PROMPT, max_tokens=8))
            probes.append(load.run(arguments, server, clients=8, requests=8, prompt_tokens=128, max_tokens=1536,
                                   probe_after=4, probe_prompt_tokens=LONG_PROMPT))
    report = probes[-1]
    if any("probe_ttft_ms" not in probe or "p99_itl_during_probe_ms" not in probe for probe in probes):
        return judge_losses(report) + ["the long prompt was not answered while the streams ran"]
    middle = {key: statistics.median(probe[key] for probe in probes)
              for key in ("p99_itl_during_probe_ms", "p99_itl_besides_probe_ms", "probe_ttft_ms")}
    idle_ttft = statistics.median(sample["median_ttft_ms"] for sample in idle)
    itl_ratio = middle["p99_itl_during_probe_ms"] / middle["p99_itl_besides_probe_ms"]
    ttft_ratio = middle["probe_ttft_ms"] / idle_ttft
    missed = [line for probe in probes for line in judge_losses(probe)]
    missed += judge(f"p99 ITL of 8 streams {middle['p99_itl_besides_probe_ms']:.1f} ms, during a prompt of "
                    f"{report['probe_prompt_tokens']} tokens {middle['p99_itl_during_probe_ms']:.1f} ms, ratio "
                    f"{itl_ratio:.2f}, target {MAX_ITL_RATIO}", itl_ratio <= MAX_ITL_RATIO)
    return missed + judge(f"TTFT of that prompt {middle['probe_ttft_ms']:.0f} ms, idle {idle_ttft:.0f} ms, ratio "
                          f"{ttft_ratio:.2f}, target {MAX_TTFT_RATIO}", ttft_ratio <= MAX_TTFT_RATIO)


def startup(arguments):
    """From the start of the process to the first healthy answer."""
    seconds = []
    for _ in range(arguments.repetitions):
        with servers.packhorse(arguments, arguments.streams, arguments.context) as server:
            seconds.append(server.seconds_to_start)
    middle = statistics.median(seconds)
    return judge(f"healthy after {middle:.2f} s (" + " ".join(f"{value:.2f}" for value in seconds)
                 + f"), target {MAX_SECONDS_TO_START:.0f}", middle < MAX_SECONDS_TO_START)


def http_share(arguments):
    """CPU time of the threads that serve HTTP, by their names."""
    with servers.packhorse(arguments, 32, arguments.context) as server:
        load.warm_up(arguments, server, 32)
        report = load.run(arguments, server, clients=32, requests=32 * arguments.rounds,
                          prompt_tokens=arguments.prompt_tokens, max_tokens=arguments.max_tokens)
    seconds = report["server_cpu_seconds"]
    print("CPU seconds: " + ", ".join(f"{name} {value:.2f}" for name, value in seconds.items()))
    if HTTP_THREADS[0] not in seconds:
        return judge_losses(report) + [f"the server has no thread named {HTTP_THREADS[0]}"]
    share = sum(seconds.get(name, 0) for name in HTTP_THREADS) / sum(seconds.values())
    return judge_losses(report) + judge(f"HTTP takes {share:.2%} of the CPU time at 32 streams, target "
                                        f"{MAX_HTTP_SHARE:.0%}", share < MAX_HTTP_SHARE)
