"""/metrics as a real Prometheus parser reads it: vLLM's names, and numbers that are true."""

import json
import re
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from conftest import ROOT
from server import Server

N_TOKENS = 8

# Families that dashboards made for vLLM ask for; the parser takes "_total" off counters.
GAUGES = [
    "num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "engine_sleep_state", "cache_config_info",
    "lora_requests_info",
]  # fmt: skip
COUNTERS = [
    "prefix_cache_queries", "prefix_cache_hits", "num_preemptions", "prompt_tokens", "prompt_tokens_cached",
    "generation_tokens", "request_success", "admission_rejections",
]  # fmt: skip
HISTOGRAMS = [
    "time_to_first_token_seconds", "inter_token_latency_seconds", "request_time_per_output_token_seconds",
    "e2e_request_latency_seconds", "request_queue_time_seconds", "request_inference_time_seconds",
    "request_prefill_time_seconds", "request_decode_time_seconds", "request_prompt_tokens", "request_generation_tokens",
    "request_max_num_generation_tokens", "request_params_n", "request_params_max_tokens", "iteration_tokens_total",
    "request_num_preemptions",
]  # fmt: skip


def scrape(server):
    answer = server.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def value(families, name, suffix="", **labels):
    """The one sample of that name whose labels include these."""
    found = [
        sample.value
        for sample in families[name].samples
        if sample.name == name + suffix and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def n_generated(families):
    return value(families, "vllm:generation_tokens", "_total")


@pytest.fixture(scope="module")
def server():
    with Server("demo", "--served-model-name", 'odd "name"\\', "other") as server:
        yield server


@pytest.fixture(scope="module")
def before_and_after(server):
    """Two scrapes, with a whole answer, a stream, an answer for a while to come and an error between them."""
    before = scrape(server)
    body = {"prompt": "one two three four", "max_tokens": N_TOKENS, "temperature": 0, "ignore_eos": True}
    usage = server.post("/v1/completions", body).json()["usage"]
    events = list(server.stream("/v1/completions", {**body, "n": 2, "temperature": 1, "seed": 1}))
    assert events
    assert server.post("/v1/completions", {"prompt": "x", "max_tokens": -1}).status == 400
    deadline = time.monotonic() + 30
    while n_generated(after := scrape(server)) < n_generated(before) + 3 * N_TOKENS:  # they follow the last step
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return before, after, usage


def test_all_of_vllms_families_are_there(before_and_after):
    families = before_and_after[0]
    for names, kind in ((GAUGES, "gauge"), (COUNTERS, "counter"), (HISTOGRAMS, "histogram")):
        for name in names:
            assert families[f"vllm:{name}"].type == kind, name
    for family in families.values():
        assert family.documentation
        if family.name.startswith("vllm:"):
            for sample in family.samples:
                assert sample.labels["model_name"] == 'odd "name"\\' and sample.labels["engine"] == "0"
    (cache,) = families["vllm:cache_config_info"].samples
    assert cache.labels["block_size"] == "16" and cache.labels["enable_prefix_caching"] == "True"
    assert int(cache.labels["num_gpu_blocks"]) > 0
    assert families["vllm:lora_requests_info"].samples[0].labels["max_lora"] == "0"
    assert "repetition" in {s.labels["finished_reason"] for s in families["vllm:request_success"].samples}


def test_histograms_are_cumulative(before_and_after):
    for family in before_and_after[1].values():
        if family.type != "histogram":
            continue
        series = {}
        for sample in family.samples:
            key = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
            series.setdefault(key, {"bounds": [], "counts": []})
            if sample.name.endswith("_bucket"):
                series[key]["bounds"].append(float(sample.labels["le"]))
                series[key]["counts"].append(sample.value)
            else:
                series[key][sample.name.rsplit("_", 1)[1]] = sample.value
        for each in series.values():
            assert each["bounds"] == sorted(set(each["bounds"])) and each["bounds"][-1] == float("inf")
            assert each["counts"] == sorted(each["counts"]) and each["counts"][-1] == each["count"]
            assert each["sum"] >= 0


def test_the_numbers_are_true(before_and_after):
    before, after, usage = before_and_after

    def grown(name, suffix="_total", **labels):
        return value(after, f"vllm:{name}", suffix, **labels) - value(before, f"vllm:{name}", suffix, **labels)

    assert usage["completion_tokens"] == N_TOKENS
    assert grown("generation_tokens") == 3 * N_TOKENS
    assert grown("prompt_tokens") >= 2 * usage["prompt_tokens"]
    assert grown("prefix_cache_queries") == grown("prompt_tokens")
    assert grown("prefix_cache_hits") == grown("prompt_tokens_cached")
    assert grown("request_success", finished_reason="length") == 3
    assert grown("request_success", finished_reason="error") == 0
    assert grown("e2e_request_latency_seconds", "_count") == 2
    assert grown("time_to_first_token_seconds", "_count") == 2
    assert grown("request_generation_tokens", "_sum") == 3 * N_TOKENS
    assert grown("request_prompt_tokens", "_sum") == 2 * usage["prompt_tokens"]
    assert grown("request_params_n", "_sum") == 3 and grown("request_params_max_tokens", "_sum") == 2 * N_TOKENS
    assert grown("inter_token_latency_seconds", "_count") >= N_TOKENS - 2
    assert 0 < grown("request_time_per_output_token_seconds", "_sum") < grown("e2e_request_latency_seconds", "_sum")
    phases = grown("request_queue_time_seconds", "_sum") + grown("request_inference_time_seconds", "_sum")
    assert phases == pytest.approx(grown("e2e_request_latency_seconds", "_sum"), rel=1e-6)
    assert value(after, "vllm:num_requests_running") == value(after, "vllm:num_requests_waiting") == 0
    assert 0 <= value(after, "vllm:kv_cache_usage_perc") <= 1


def test_http_answers_are_counted(server, before_and_after):
    server.get("/no/such/path")
    server.get("/another/one")
    families = scrape(server)
    labels = {"handler": "/v1/completions", "method": "POST"}
    assert value(families, "http_requests", "_total", **labels, status="2xx") == 2
    assert value(families, "http_requests", "_total", **labels, status="4xx") == 1
    assert value(families, "http_requests", "_total", handler="other", method="other", status="4xx") == 2
    assert value(families, "http_request_duration_seconds", "_count", **labels) == 3
    assert not any("no/such" in str(sample) for sample in families["http_requests"].samples)


def test_handlers_are_the_patterns_of_routes(server):
    for method, path in (("GET", "/v1/responses/resp_1"), ("DELETE", "/v1/responses/resp_2"), ("GET", "/v1/models/a/b"),
                         ("POST", "/v1/responses/resp_3/cancel"), ("PUT", "/v1/responses/resp_4")):  # fmt: skip
        assert server.request(method, path).status in (404, 405)
    families = scrape(server)
    for handler, method in (("/v1/responses/{response_id}", "GET"), ("/v1/responses/{response_id}", "DELETE"),
                            ("/v1/responses/{response_id}/cancel", "POST"), ("/v1/models/{id...}", "GET"),
                            ("/v1/responses/{response_id}", "other")):  # fmt: skip
        assert value(families, "http_requests", "_total", handler=handler, method=method, status="4xx") == 1
    assert not any("resp_" in str(sample) for sample in families["http_requests"].samples)


def test_the_process_tells_of_itself(server):
    families = scrape(server)
    assert 1e7 < value(families, "process_resident_memory_bytes") < 1e11
    assert 0 < value(families, "process_cpu_seconds", "_total")
    assert 3 < value(families, "process_open_fds") < 1000
    assert abs(value(families, "process_start_time_seconds") - time.time()) < 3600


def test_the_dashboard_asks_for_what_there_is(before_and_after):
    board = json.loads((ROOT / "docs/grafana.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    asked = {name for query in queries for name in re.findall(r"\b(?:vllm:|http_|process_)\w+", query)}
    there = {sample.name for family in before_and_after[1].values() for sample in family.samples}
    assert len(queries) > 20 and asked <= there, asked - there
