"""SamplingParams with vLLM's names, order and defaults."""

import contextlib
import copy
import dataclasses
import enum
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from . import _packhorse
from .errors import VLLMValidationError

# Fields that the engine has no use for yet. They have to keep their defaults, so that no result differs silently.
_NOT_SUPPORTED = (
    "watermarking", "prompt_logprob_token_ids", "prompt_logprob_start", "logprob_token_ids", "flat_logprobs",
    "extra_args", "thinking_token_budget", "repetition_detection", "trace_decode_token_ids",
)  # fmt: skip


# What vLLM shows of a SamplingParams, in its order.
_SHOWN = (
    "n", "presence_penalty", "frequency_penalty", "repetition_penalty", "temperature", "top_p", "top_k", "min_p", "seed",
    "stop", "stop_token_ids", "bad_words", "thinking_token_budget", "include_stop_str_in_output", "ignore_eos", "max_tokens",
    "min_tokens", "logprobs", "prompt_logprobs", "skip_special_tokens", "spaces_between_special_tokens",
    "structured_outputs", "extra_args",
)  # fmt: skip

_MAX_SEQUENCES = 16384


class RequestOutputKind(enum.IntEnum):
    """What the outputs of a streamed request hold. `LLM.generate` always returns final ones."""

    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


@dataclasses.dataclass
class StructuredOutputsParams:
    """What the output has to match: exactly one of the first six.

    `json` is a JSON schema, as a dictionary or as text; `choice` are texts, of which the output is one; `grammar` is EBNF with a
    rule "root"; `json_object` asks for any JSON object; `structural_tag` is xgrammar's, as a dictionary or as text.
    """

    json: str | dict[str, Any] | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None
    structural_tag: str | dict[str, Any] | None = None
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
        if self.whitespace_pattern is not None:
            raise VLLMValidationError(
                f"structured_outputs: whitespace_pattern is not supported (got {self.whitespace_pattern!r})",
                parameter="structured_outputs",
                value=self.whitespace_pattern,
            )

    def _engine_fields(self) -> dict[str, Any]:
        fields = dataclasses.asdict(self)
        for name in ("json", "structural_tag"):
            if isinstance(fields[name], dict):
                fields[name] = json.dumps(fields[name], ensure_ascii=False)
        return {**fields, "choice": fields["choice"] or [], "json_object": bool(fields["json_object"])}


@dataclasses.dataclass
class BeamSearchParams:
    """Settings of `LLM.beam_search`: `beam_width` texts are kept at each step, for `max_tokens` steps.

    They are ranked by their log-probability over the `length_penalty`-th power of their length, prompt included.
    """

    beam_width: int
    max_tokens: int
    ignore_eos: bool = False
    temperature: float = 0.0
    length_penalty: float = 1.0
    include_stop_str_in_output: bool = False
    structured_outputs: StructuredOutputsParams | None = None

    def __post_init__(self) -> None:
        for name in ("beam_width", "max_tokens"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise VLLMValidationError(f"{name} must be at least 1, got {value!r}", parameter=name, value=value)
        if self.beam_width > _MAX_SEQUENCES:
            raise VLLMValidationError(
                f"beam_width must be at most {_MAX_SEQUENCES}, got {self.beam_width}",
                parameter="beam_width",
                value=self.beam_width,
            )
        if self.structured_outputs is not None:
            raise VLLMValidationError(
                f"structured_outputs: beam search does not support them (got {self.structured_outputs!r})",
                parameter="structured_outputs",
                value=self.structured_outputs,
            )


def _without_repeats(items: Any) -> Any:
    """A list of the items in their order; what cannot be one is left for the engine's check to refuse."""
    try:
        return items if isinstance(items, str) else list(dict.fromkeys(() if items is None else items))
    except TypeError:
        return items


def _biases(biases: dict[Any, float]) -> dict[int, float]:
    try:
        return {int(token_id): min(max(bias, -100.0), 100.0) for token_id, bias in biases.items()}  # NaN stays
    except (AttributeError, TypeError, ValueError):
        message = f"logit_bias: not a dictionary of token ids and numbers (got {biases!r:.80})"
        raise VLLMValidationError(message, parameter="logit_bias", value=biases) from None


@contextlib.contextmanager
def naming_parameter(params: "SamplingParams") -> Iterator[None]:
    """The engine's errors about a request begin with the name of the parameter."""
    try:
        yield
    except VLLMValidationError as error:
        name = re.match(r"\w*", str(error)).group()  # type: ignore[union-attr]
        if name in params.__dataclass_fields__:
            error.parameter, error.value = name, getattr(params, name)
        raise


@dataclasses.dataclass(repr=False)
class SamplingParams:
    """How answers are sampled; every field has vLLM's meaning and default.

    The common ones: `temperature` (0 = always the most likely token), `top_p`, `top_k`, `min_p`, `seed`, `max_tokens` (None = up
    to the context), `stop` and `stop_token_ids`, `logprobs` (entries for each token), `n` (answers for each prompt),
    `repetition_penalty`, `presence_penalty` and `frequency_penalty`, `logit_bias` (token id -> what is added to its logit),
    `allowed_token_ids` and `bad_words`, `structured_outputs` (what the answer has to match). A value out of range, and a field that the engine cannot follow yet, raise
    VLLMValidationError.
    """

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
        if isinstance(self.structured_outputs, dict):
            self.structured_outputs = StructuredOutputsParams(**self.structured_outputs)
        if not isinstance(self.structured_outputs, StructuredOutputsParams | None):
            raise VLLMValidationError(
                f"structured_outputs: not StructuredOutputsParams (got {self.structured_outputs!r:.80})",
                parameter="structured_outputs",
                value=self.structured_outputs,
            )
        if self.stop is None or isinstance(self.stop, str):
            self.stop = [] if self.stop is None else [self.stop]
        self.stop_token_ids = _without_repeats(self.stop_token_ids)
        self.bad_words = _without_repeats(self.bad_words)
        self.logprobs = 1 if self.logprobs is True else self.logprobs
        self.prompt_logprobs = 1 if self.prompt_logprobs is True else self.prompt_logprobs
        if self.seed == -1:
            self.seed = None
        with naming_parameter(self):
            self.temperature, self.top_p, self.top_k, self.min_p = _packhorse.normalized_sampling(self)

    @classmethod
    def from_optional(cls, **fields: Any) -> "SamplingParams":
        """As a request gives them: None means "not given", but for `max_tokens`, where it means "up to the context". Keys of
        `logit_bias` may be texts, and its values are clamped to [-100, 100]."""
        given = {name: value for name, value in fields.items() if value is not None or name == "max_tokens"}
        if "logit_bias" in given:
            given["logit_bias"] = _biases(given["logit_bias"])
        return cls(**given)

    def __repr__(self) -> str:
        return f"SamplingParams({', '.join(f'{name}={getattr(self, name)}' for name in _SHOWN)})"

    def clone(self) -> "SamplingParams":
        """A copy that shares nothing."""
        return copy.deepcopy(self)
