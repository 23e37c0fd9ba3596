"""Runs Packhorse's command line on a model. `packhorse` is its path, `flags` those of the engine."""

import json
import subprocess
from pathlib import Path

from .program import ROOT, run_quietly

TEXT = ROOT / "tests/golden/text/eval_4k.txt"


def inspect(packhorse, path, flags=()):
    return json.loads(run_quietly([packhorse, "inspect", path, *flags, "--json"]))


def speeds(packhorse, path, n_prompt, n_gen, threads, repetitions, flags=()):
    """The prefill test and the decode test of `packhorse bench`."""
    tests = json.loads(run_quietly([packhorse, "bench", path, *flags, "-p", n_prompt, "-n", n_gen, "-t", threads,
                                    "-r", repetitions, "--json"]))
    prefill, decode = sorted(tests, key=lambda test: test["n_gen"])
    return prefill, decode


def divergence(packhorse, path, threads, flags=()):
    """What `packhorse eval` says of the committed text: perplexity, and the divergence from float32 arithmetic."""
    return json.loads(run_quietly([packhorse, "eval", path, "--text", TEXT, "--against-dtype", "float32",
                                   "--threads", threads, *flags, "--json"]))


def anonymous_bytes(packhorse, path, threads, flags=()):
    """RssAnon of a process that has loaded the model, answered one message and waits for the next."""
    command = [packhorse, "run", path, *flags, "--max-tokens", "1", "--temperature", "0", "--threads", str(threads)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(b"hi\n")
        process.stdin.flush()
        if not process.stdout.readline():
            raise SystemExit(process.stderr.read().decode(errors="replace").strip())
        status = Path(f"/proc/{process.pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return 1024 * int(fields["RssAnon"].split()[0])
