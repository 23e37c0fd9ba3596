"""Requests to a small model that tests share, and what the engine says about them."""

import contextlib
import time

from packhorse import SamplingParams

CONTEXT = 2048
PROMPTS = ["Hello", "The capital of", "One two three four", "A quick brown fox"]
GREEDY = SamplingParams(temperature=0, max_tokens=16, ignore_eos=True)
ENDLESS = SamplingParams(temperature=0, max_tokens=None, ignore_eos=True)  # until the context is full


def seeded(seed, max_tokens=16, **fields):
    """Sampled: a model this small repeats itself when greedy, which hides mix-ups."""
    return SamplingParams(temperature=1.0, seed=seed, max_tokens=max_tokens, ignore_eos=True, **fields)


def tokens(outputs):
    return [list(completion.token_ids) for output in outputs for completion in output.outputs]


def metric(llm, name):
    return next(metric.value for metric in llm.get_metrics() if metric.name == f"vllm:{name}")


def wait_until_running(llm, n):
    """The counts are those of the last step."""
    deadline = time.monotonic() + 30
    while (metric(llm, "num_requests_running"), metric(llm, "num_requests_waiting")) != (n, 0):
        assert time.monotonic() < deadline, f"not {n} requests"
        time.sleep(0.002)


@contextlib.contextmanager
def ended_early(llm):
    """What is started within leaves the engine long before the context is full."""
    wait_until_running(llm, 0)
    before = metric(llm, "generation_tokens")
    yield
    wait_until_running(llm, 0)
    assert metric(llm, "generation_tokens") - before < CONTEXT * 3 // 4
