"""What `LLM.get_metrics` returns, with vLLM's names."""

import dataclasses
from typing import Any


@dataclasses.dataclass
class Metric:
    """A number with a name."""

    name: str
    labels: dict[str, str]


@dataclasses.dataclass
class Counter(Metric):
    """One that only grows."""

    value: int


@dataclasses.dataclass
class Gauge(Metric):
    """One that goes up and down."""

    value: float


def from_stats(stats: dict[str, int], model_name: str) -> list[Metric]:
    """Of the engine's counts."""
    labels = {"model_name": model_name, "engine": "0"}
    used = stats["n_blocks"] - stats["n_free_blocks"]
    gauges: dict[str, Any] = {
        "num_requests_running": stats["n_running"],
        "num_requests_waiting": stats["n_waiting"],
        "kv_cache_usage_perc": used / max(stats["n_blocks"], 1),
    }
    counters = {
        "prefix_cache_queries": stats["n_prompt_tokens"],
        "prefix_cache_hits": stats["n_cached_tokens"],
        "num_preemptions": stats["n_preemptions"],
        "prompt_tokens": stats["n_prompt_tokens"],
        "generation_tokens": stats["n_generated_tokens"],
    }
    return [Gauge(f"vllm:{name}", labels, float(value)) for name, value in gauges.items()] + [
        Counter(f"vllm:{name}", labels, value) for name, value in counters.items()
    ]
