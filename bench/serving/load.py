"""Runs the load generator on a server."""

import itertools
import json
import subprocess

_seeds = itertools.count(1)  # no two runs share prompts, so that no cache of prefixes helps


def run(arguments, server, **flags):
    """Its report: clients=8 is passed as --clients 8. Lost answers are counted there, as "failed"."""
    words = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", value)]
    command = [arguments.load, "--url", server.url, "--server-pid", server.process.pid, "--seed", next(_seeds), "--json",
               *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode not in (0, 1) or not done.stdout:
        raise SystemExit(f"error: {' '.join(map(str, command))} exited with {done.returncode}: {done.stderr.strip()}")
    report = json.loads(done.stdout)
    if server.process.poll() is not None:
        raise SystemExit(f"error: the server ended with status {server.process.returncode}: {server.last_words()}")
    return report


def warm_up(arguments, server, clients):
    run(arguments, server, clients=clients, requests=clients, prompt_tokens=64, max_tokens=16)


def losses(report):
    """What was lost, in words; empty when nothing was."""
    return ", ".join(f"{count} x {kind}" for kind, count in report["errors"].items())
