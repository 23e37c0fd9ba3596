"""SamplingParams with vLLM's names, order and defaults."""

import copy
import dataclasses
import enum
import re
from collections.abc import Sequence
from typing import Any

from . import _packhorse
from .errors import VLLMValidationError

# Fields that the engine has no use for yet. They have to keep their defaults, so that no result differs silently.
_NOT_SUPPORTED = (
    "watermarking", "prompt_logprob_token_ids", "prompt_logprob_start", "logprob_token_ids", "flat_logprobs",
    "structured_outputs", "logit_bias", "allowed_token_ids", "extra_args", "bad_words", "thinking_token_budget",
    "repetition_detection", "trace_decode_token_ids",
)  # fmt: skip


class RequestOutputKind(enum.IntEnum):
    """What the outputs of a streamed request hold. `LLM.generate` always returns final ones."""

    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


@dataclasses.dataclass
class StructuredOutputsParams:
    """Constraint of the output: exactly one of the first six."""

    json: str | dict | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None
    structural_tag: str | None = None
    disable_any_whitespace: bool = False
    disable_additional_properties: bool = False
    whitespace_pattern: str | None = None

    def __post_init__(self) -> None:
        names = [field.name for field in dataclasses.fields(self)[:6]]
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            raise VLLMValidationError(
                f"structured_outputs: needs exactly one of {', '.join(names)} (got {', '.join(given) or 'none'})",
                parameter="structured_outputs",
                value=given,
            )


@dataclasses.dataclass
class BeamSearchParams:
    beam_width: int
    max_tokens: int
    ignore_eos: bool = False
    temperature: float = 0.0
    length_penalty: float = 1.0
    include_stop_str_in_output: bool = False


@dataclasses.dataclass
class SamplingParams:
    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    watermarking: Any = None
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: str | Sequence[str] | None = None
    stop_token_ids: Sequence[int] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16
    min_tokens: int = 0
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    prompt_logprob_token_ids: Sequence[int] | None = None
    prompt_logprob_start: int | None = None
    logprob_token_ids: Sequence[int] | None = None
    flat_logprobs: bool = False
    detokenize: bool = True
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    include_stop_str_in_output: bool = False
    output_kind: RequestOutputKind = RequestOutputKind.CUMULATIVE
    stream_interval: int | None = None
    skip_clone: bool = False
    structured_outputs: StructuredOutputsParams | None = None
    logit_bias: dict[int, float] | None = None
    allowed_token_ids: Sequence[int] | None = None
    extra_args: dict[str, Any] | None = None
    bad_words: Sequence[str] | None = None
    skip_reading_prefix_cache: bool | None = None
    thinking_token_budget: int | None = None
    repetition_detection: Any = None
    routed_experts_prompt_start: int = 0
    trace_decode_token_ids: Sequence[int] | None = None

    def __post_init__(self) -> None:
        for name in _NOT_SUPPORTED:
            if value := getattr(self, name):
                raise VLLMValidationError(f"{name}: not supported yet (got {value!r})", parameter=name, value=value)
        if self.stop is None or isinstance(self.stop, str):
            self.stop = [] if self.stop is None else [self.stop]
        self.stop_token_ids = list(self.stop_token_ids or [])
        if self.seed == -1:
            self.seed = None
        try:
            self.temperature, self.top_p, self.top_k, self.min_p = _packhorse.normalized_sampling(self)
        except VLLMValidationError as error:
            words = re.findall(r"\w+", str(error))
            error.parameter = next((word for word in words if word in self.__dataclass_fields__), None)
            error.value = getattr(self, error.parameter) if error.parameter else None
            raise

    @classmethod
    def from_optional(cls, **fields: Any) -> "SamplingParams":
        """None means "not given"."""
        return cls(**{name: value for name, value in fields.items() if value is not None})

    def clone(self) -> "SamplingParams":
        return copy.deepcopy(self)
