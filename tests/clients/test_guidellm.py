"""guidellm's load of streamed chats and completions."""

import json
import os
import subprocess

import pytest
from installed import program
from server import Server

N_REQUESTS = 12


@pytest.fixture(scope="module")
def server():
    with Server("demo", "--max-num-seqs", "4") as running:
        yield running


@pytest.mark.parametrize("route", ["text_completions", "chat_completions"])
def test_all_requests_are_answered(server, tmp_path, route):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"Count from {n} on:"}) + "\n" for n in range(N_REQUESTS)))
    report = tmp_path / "report.json"
    settings = {"HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "GUIDELLM__PREFERRED_ROUTE": route,
                "GUIDELLM__OPENAI__MAX_OUTPUT_TOKENS": "16"}
    done = subprocess.run(
        [program("guidellm", "guidellm"), "benchmark", "run", "--target", server.url, "--data", prompts, "--data-args",
         '{"prompt_column": "prompt"}', "--rate-type", "concurrent", "--rate", "4", "--max-requests", str(N_REQUESTS),
         "--output-path", report, "--disable-progress"],
        env={**os.environ, **settings}, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    benchmark, = json.loads(report.read_text())["benchmarks"]
    requests = benchmark["requests"]
    assert len(requests["successful"]) == N_REQUESTS
    assert not requests["errored"] and not requests["incomplete"]
    assert all(0 < request["output_tokens"] <= 16 for request in requests["successful"])
