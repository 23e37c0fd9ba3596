"""The load generator of bench/load: what it measures and what it calls lost."""

import json
import os
import subprocess

import pytest
from conftest import ROOT
from server import Server
from sse_server import SseServer

LOAD = os.environ.get("PACKHORSE_LOAD") or ROOT / "build/load"


def load(server, *flags, status=0):
    done = subprocess.run([LOAD, "--url", server.url, "--json", *map(str, flags)], capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == status, done.stderr + done.stdout[:1000]
    return json.loads(done.stdout)


def test_counts_and_times():
    with SseServer(pause=0.02) as server:
        report = load(server, "--clients", 3, "--requests", 6, "--prompt-tokens", 5, "--max-tokens", 10)
    assert (report["completed"], report["failed"], report["errors"]) == (6, 0, {})
    assert (report["total_input_tokens"], report["total_output_tokens"]) == (30, 60)
    assert 15 <= report["median_itl_ms"] <= report["p99_itl_ms"] <= report["max_itl_ms"] < 1000
    assert 15 <= report["median_tpot_ms"] < 200
    assert report["mean_ttft_ms"] >= 20
    assert report["mean_e2el_ms"] == pytest.approx(report["mean_ttft_ms"] + 9 * report["mean_tpot_ms"])
    assert report["output_throughput"] == pytest.approx(60 / report["duration"])
    assert report["keep_alive_comments"] == 6
    assert report["peak_streaming_requests"] == 3
    assert len({request["prompt"] for request in server.requests}) == 6
    assert all(request["ignore_eos"] and request["model"] == "words" for request in server.requests)


def test_prompts_are_those_of_the_seed_and_share_a_prefix():
    prompts = []
    for seed in (1, 1, 2):
        with SseServer() as server:
            load(server, "--clients", 1, "--requests", 2, "--prompt-tokens", 8, "--shared-prefix", 4, "--max-tokens", 1,
                 "--seed", seed)
        prompts.append([request["prompt"].split() for request in server.requests])
    assert prompts[0] == prompts[1] != prompts[2]
    assert len({tuple(prompt[:4]) for run in prompts for prompt in run}) == 1


@pytest.mark.parametrize("fault, kind", [
    ("undone", "missing [DONE]"), ("short", "wrong number of tokens"), ("error", "error event"), ("400", "HTTP 400"),
    ("503", "HTTP 503"), ("cut", "connection closed"), ("closed", "connection closed")])
def test_losses_are_told(fault, kind):
    with SseServer({0: fault}) as server:
        report = load(server, "--clients", 1, "--requests", 3, "--max-tokens", 4, status=1)
    assert report["errors"] == {kind: 1}
    assert (report["completed"], report["failed"]) == (2, 1)


def test_refused_requests_are_asked_again():
    with SseServer({0: "refused", 1: "refused"}) as server:
        report = load(server, "--clients", 1, "--requests", 2, "--max-tokens", 2)
    assert (report["completed"], report["refused"], report["failed"]) == (2, 2, 0)
    assert report["duration"] >= 2  # the server asked for a second each time


def test_server_that_is_not_there():
    with SseServer() as server:
        pass
    done = subprocess.run([LOAD, "--url", server.url], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.startswith("error: ")


def test_all_connect_before_the_first_asks():
    with SseServer(pause=0.3) as server:
        report = load(server, "--connect-only", 40, "--max-tokens", 2)
    assert (report["completed"], report["peak_connections"], report["peak_waiting_requests"]) == (40, 40, 40)


def test_probe_is_told_apart():
    with SseServer(pause=0.05) as server:
        report = load(server, "--clients", 2, "--requests", 2, "--max-tokens", 30, "--probe-after", 0.5,
                      "--probe-prompt-tokens", 700)
    assert report["completed"] == 2
    assert report["probe_prompt_tokens"] == 700
    assert 50 <= report["probe_ttft_ms"] < 1000
    assert report["median_itl_during_probe_ms"] >= 50 and report["median_itl_besides_probe_ms"] >= 50


def test_packhorse_loses_nothing():
    with Server("demo", "--max-num-seqs", "4") as server:
        for route in ("/v1/completions", "/v1/chat/completions"):
            report = load(server, "--clients", 8, "--requests", 16, "--prompt-tokens", 20, "--max-tokens", 8,
                          "--endpoint", route, "--server-pid", server.process.pid)
            assert (report["completed"], report["failed"]) == (16, 0)
            assert report["total_output_tokens"] == 128
            assert report["server_peak_rss"] > 1e6 and report["server_cpu_share"] > 0
