"""EngineArgs: the arguments of LLM as one object, and as options of a program."""

import argparse
import dataclasses
import json
import sys
import types
import typing
from typing import Any

_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}


@dataclasses.dataclass
class EngineArgs:
    """What `LLM` takes, with its defaults: `LLM(**dataclasses.asdict(args))`. None means "not given"."""

    model: str = "demo"
    runner: str = "auto"
    convert: str = "auto"
    tokenizer: str | None = None
    tokenizer_mode: str = "auto"
    skip_tokenizer_init: bool = False
    trust_remote_code: bool = False
    dtype: str = "auto"
    quantization: str | None = None
    quantization_config: dict[str, Any] | None = None
    allow_deprecated_quantization: bool = False
    load_format: str = "auto"
    model_loader_extra_config: dict[str, Any] | None = None
    kv_cache_dtype: str = "auto"
    calculate_kv_scales: bool = False
    revision: str | None = None
    tokenizer_revision: str | None = None
    download_dir: str | None = None
    ignore_patterns: list[str] | None = None
    hf_token: str | None = None
    hf_overrides: dict[str, Any] | None = None
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    max_model_len: int | str | None = None  # "auto" and -1: the model's own, as far as the KV cache holds it
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    max_logprobs: int = 20
    logprobs_mode: str = "raw_logprobs"
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    distributed_executor_backend: str | None = None
    gpu_memory_utilization: float = 0.92
    kv_cache_memory_bytes: int | None = None
    num_gpu_blocks_override: int | None = None
    block_size: int | None = None
    cpu_offload_gb: float = 0
    enforce_eager: bool = False
    enable_prefix_caching: bool | None = None
    enable_chunked_prefill: bool | None = None
    async_scheduling: bool | None = None
    scheduling_policy: str = "fcfs"
    stream_interval: int = 1
    generation_config: str = "auto"
    override_generation_config: dict[str, Any] | None = None
    compilation_config: dict[str, Any] | None = None
    attention_backend: str | None = None
    attention_config: dict[str, Any] | None = None
    profiler_config: dict[str, Any] | None = None
    structured_outputs_config: dict[str, Any] | None = None
    pooler_config: dict[str, Any] | None = None
    speculative_config: dict[str, Any] | None = None
    mm_processor_kwargs: dict[str, Any] | None = None
    logits_processors: list[str] | None = None
    reasoning_parser: str = ""
    enable_lora: bool = False
    max_loras: int = 1
    max_lora_rank: int = 16
    allowed_local_media_path: str = ""
    disable_custom_all_reduce: bool = False
    disable_log_stats: bool = False
    served_model_name: list[str] | None = None
    use_tqdm_on_load: bool = True

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """By name."""
        return {field.name: field.default for field in dataclasses.fields(cls)}

    @classmethod
    def add_cli_args(cls, parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
        """Adds an option for each argument: `--max-model-len` and so on. JSON texts give dictionaries, 1k is 1000, 1K 1024."""
        short = {"quantization": ["-q"], "tensor_parallel_size": ["-tp"], "pipeline_parallel_size": ["-pp"]}
        hints = typing.get_type_hints(cls)
        group = parser.add_argument_group("EngineArgs")
        for name, default in cls.defaults().items():
            flag = "--" + name.replace("_", "-")
            group.add_argument(flag, *short.get(name, []), dest=name, default=default, **_parsing(hints[name]))
        return parser

    @classmethod
    def from_cli_args(cls, args: argparse.Namespace) -> "EngineArgs":
        """Takes from a parsed command line what it knows."""
        return cls(**{name: getattr(args, name) for name in cls.defaults() if hasattr(args, name)})


@dataclasses.dataclass
class AsyncEngineArgs(EngineArgs):
    """What AsyncLLM takes."""

    enable_log_requests: bool = False


def _parsing(hint: Any) -> dict[str, Any]:
    """How argparse reads an option of this type."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kind = next(each for each in kinds if each is not type(None))
    if kind is int and str in kinds:
        return {"type": _whole_number_or_auto}
    special: dict[Any, dict[str, Any]] = {
        bool: {"action": argparse.BooleanOptionalAction},
        int: {"type": _whole_number},
        dict: {"type": _json_object},
        list: {"nargs": "+"},
    }
    return special.get(typing.get_origin(kind) or kind, {"type": kind})


def _whole_number(text: str) -> int:
    unit = _UNITS.get(text[-1:])
    if unit is None:
        return int(text)
    number = float(text[:-1]) * unit
    if not number.is_integer():
        raise argparse.ArgumentTypeError(f"not a whole number: {text!r}")
    return int(number)


def _whole_number_or_auto(text: str) -> int | str:
    return text if text == "auto" else _whole_number(text)


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"not a JSON object: {text!r}")
    return value


class FlexibleArgumentParser(argparse.ArgumentParser):
    """Takes --max_model_len for --max-model-len, as vLLM's parser of this name does."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's."""
        given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args([self._with_dashes(each) for each in given], namespace)

    @staticmethod
    def _with_dashes(argument: str) -> str:
        name, equals, value = argument.partition("=")
        return name.replace("_", "-") + equals + value if name.startswith("--") else argument
