"""Which of vLLM's arguments the engine takes, and what happens to the others."""

import dataclasses
import json
import os
import warnings
from typing import Any

from .engine_args import EngineArgs
from .errors import VLLMValidationError

# They steer speed, placement or logging of vLLM's own parts; no result depends on them.
ACCEPTED = frozenset({
    "allow_deprecated_quantization", "allowed_local_media_path", "allowed_media_domains", "async_scheduling",
    "attention_backend", "attention_config", "block_size", "code_revision", "compilation_config", "config_format",
    "cpu_offload_gb", "cudagraph_capture_sizes", "disable_cascade_attn", "disable_chunked_mm_input",
    "disable_custom_all_reduce", "disable_hybrid_kv_cache_manager", "disable_log_stats", "distributed_executor_backend",
    "enable_chunked_prefill", "enable_expert_parallel", "enable_log_requests", "enforce_eager", "ignore_patterns",
    "kernel_config", "limit_mm_per_prompt", "linear_backend", "log_level", "long_prefill_token_threshold", "master_addr",
    "master_port", "max_cudagraph_capture_size", "max_num_partial_prefills", "max_parallel_loading_workers",
    "mm_processor_cache_gb", "model_impl", "model_loader_extra_config", "moe_backend", "numa_bind", "observability_config",
    "optimization_level", "performance_mode", "prefix_caching_hash_algo", "profiler_config", "safetensors_load_strategy",
    "served_model_name", "shutdown_timeout", "stream_interval", "tokenizer_mode",
    "weights_load_device",
})  # fmt: skip

# Arguments of features that are not there yet, with the values that ask for nothing.
NOT_SUPPORTED: dict[str, tuple] = {
    "runner": ("auto", "generate", "pooling"),
    "convert": ("auto", "none", "embed"),
    "hf_overrides": (None, {}),
    "logits_processors": (None, []),
    "mm_processor_kwargs": (None, {}),
    "speculative_config": (None,),
    "spec_method": (None,),
    "spec_model": (None,),
    "spec_tokens": (None,),
    "reasoning_parser": (None, ""),
    "enable_lora": (None, False),
    "max_loras": (None, 1),
    "max_lora_rank": (None, 16),
    "pipeline_parallel_size": (None, 1),
    "data_parallel_size": (None, 1),
    "nnodes": (None, 1),
    "node_rank": (None, 0),
    "scheduler_cls": (None,),
    "worker_cls": (None, "auto"),
    "worker_extension_cls": (None, ""),
    "kv_transfer_config": (None,),
    "kv_events_config": (None,),
    "enable_sleep_mode": (None, False),
    "enable_prompt_embeds": (None, False),
    "rope_scaling": (None, {}),
    "rope_theta": (None,),
    "kv_cache_dtype_skip_layers": (None, []),
    "logprobs_mode": (None, "raw_logprobs"),
}

STRUCTURED_OUTPUTS_SETTINGS = frozenset({
    "backend", "disable_fallback", "disable_any_whitespace", "disable_additional_properties", "enable_in_reasoning",
    "reasoning_parser", "reasoning_parser_plugin",
})  # fmt: skip

# Names of older releases.
OLD = frozenset({"swap_space", "task", "guided_decoding", "guided_decoding_backend", "max_seq_len_to_capture"})


def engine_options(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that the engine itself takes. One that equals its default counts as not given, so that the
    environment may set it (PACKHORSE_DTYPE and so on)."""
    defaults = EngineArgs.defaults()
    options = {}
    for name, value in arguments.items():
        if name in OLD:
            warnings.warn(f"{name} is an argument of older releases and has no effect", stacklevel=3)
        elif name == "structured_outputs_config":
            _check_structured_outputs(value)
        elif name in NOT_SUPPORTED:
            if not any(value is idle or value == idle for idle in NOT_SUPPORTED[name]):
                instead = "; settings of a quantization method go into quantization_config" if name == "hf_overrides" else ""
                raise ValueError(f"{name}: not supported yet (got {value!r}){instead}")
        elif name not in ACCEPTED and not name.startswith("offload_") and value != defaults.get(name):
            options[name] = _plain(name, value)
    return options


def _check_structured_outputs(config: Any) -> None:
    """Settings that change nothing, as nothing tells reasoning apart here; the others are refused."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        config = dataclasses.asdict(config)
    elif isinstance(config, str):
        try:
            config = json.loads(config)
        except ValueError as error:
            raise ValueError(f"structured_outputs_config: cannot be read as JSON: {error}") from None
    if not isinstance(config, dict | None):
        raise ValueError(f"structured_outputs_config: not a dictionary (got {config!r:.80})")
    for name, value in (config or {}).items():
        where = f"structured_outputs_config: {name}"
        if name == "disable_any_whitespace" and value:
            raise ValueError(f"{where}: set it in StructuredOutputsParams (got {value!r})")
        elif name == "backend" and value not in ("auto", "xgrammar"):
            raise ValueError(f"{where}: must be 'auto' or 'xgrammar' (got {value!r})")
        elif name in ("reasoning_parser", "reasoning_parser_plugin") and value:
            raise ValueError(f"{where}: only the server tells reasoning apart (got {value!r})")
        elif name not in STRUCTURED_OUTPUTS_SETTINGS:
            raise ValueError(f"{where}: not supported")


def refuse(**given: Any) -> None:
    """Arguments of a call that ask for a feature which is not there yet."""
    for name, value in given.items():
        if value:
            raise VLLMValidationError(f"{name}: not supported yet (got {value!r})", parameter=name, value=value)


def add_special_tokens_of(tokenization_kwargs: dict[str, Any] | None) -> bool:
    """The one of these settings that there is."""
    tokenization = dict(tokenization_kwargs or {})
    result = tokenization.pop("add_special_tokens", True)
    refuse(tokenization_kwargs=tokenization)
    return result


def _as_json(name: str, value: Any) -> str:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    elif hasattr(value, "to_dict"):
        value = value.to_dict()
    try:
        return json.dumps(value, allow_nan=False, default=lambda number: number.item())  # of a NumPy number
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{name}: cannot be written as JSON: {error}") from None


def _plain(name: str, value: Any) -> Any:
    """The value as text or number."""
    if name == "dtype" or name == "kv_cache_dtype":
        return str(value).removeprefix("torch.")  # a torch.dtype says its name
    is_json = name in ("quantization_config", "override_generation_config")
    if is_json and not isinstance(value, (str, os.PathLike)):
        return _as_json(name, value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if name == "hf_token" and isinstance(value, bool):
        return os.environ.get("HF_TOKEN") if value else None
    return value
