"""Which of vLLM's arguments the engine takes, and what happens to the others."""

import dataclasses
import json
import os
import re
import warnings
from typing import Any

from . import _packhorse
from .engine_args import EngineArgs
from .errors import VLLMValidationError

# What vLLM's server and programs say more of than an LLM: no result depends on it.
_OF_THE_SERVER = frozenset({
    "disable_log_stats", "enable_log_requests", "log_level", "served_model_name", "shutdown_timeout", "weights_load_device",
})  # fmt: skip

STRUCTURED_OUTPUTS_SETTINGS = frozenset({
    "backend", "disable_fallback", "disable_any_whitespace", "disable_additional_properties", "enable_in_reasoning",
    "reasoning_parser", "reasoning_parser_plugin",
})  # fmt: skip


def engine_options(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that the engine itself takes. One that equals its default counts as not given, so that the
    environment may set it (PACKHORSE_DTYPE and so on)."""
    defaults = EngineArgs.defaults()
    options = {}
    for name, value in arguments.items():
        if name == "structured_outputs_config":
            _check_structured_outputs(value)
        elif name == "reasoning_parser":
            _refuse_parser(name, value)
        elif (known := _packhorse.vllm_argument(name)) is not None:
            _check_vllm_argument(name, value, *known)
        elif name not in _OF_THE_SERVER and value != defaults.get(name):
            options[name] = _plain(name, value)
    return options


def _check_vllm_argument(name: str, value: Any, why: str, idle: list[str], is_old: bool) -> None:
    """`why` there is no such feature, and the values that ask for nothing of it; an argument without a reason has no effect."""
    if why and value not in (None, "", *map(_value_of, idle)):
        reason = re.sub(r"--([a-z-]+)", lambda flag: flag[1].replace("-", "_"), why)
        raise ValueError(f"{name}: not supported: {reason} (got {value!r})")
    if is_old:
        warnings.warn(f"{name} is an argument of older releases and has no effect", stacklevel=4)


def _value_of(text: str) -> Any:
    """What the text of a flag stands for."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _refuse_parser(where: str, value: Any) -> None:
    if value:
        raise ValueError(f"{where}: only the server tells reasoning apart (got {value!r})")


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
        elif name in ("reasoning_parser", "reasoning_parser_plugin"):
            _refuse_parser(where, value)
        elif name not in STRUCTURED_OUTPUTS_SETTINGS:
            raise ValueError(f"{where}: not supported")
        elif name != "backend" and not isinstance(value, bool):
            raise ValueError(f"{where}: must be true or false (got {value!r})")


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
