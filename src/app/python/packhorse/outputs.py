"""What a request returns, with vLLM's names."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from .sampling_params import RequestOutputKind


@dataclasses.dataclass(slots=True)
class Logprob:
    """`rank` is 1 for the most likely token of its position."""

    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


LogprobsOnePosition = dict[int, Logprob]
PromptLogprobs = list[LogprobsOnePosition | None]
SampleLogprobs = list[LogprobsOnePosition]


def _logprobs(positions: list | None) -> list | None:
    """Lists of (token id, logprob, rank, decoded token) as one dictionary a position."""
    if positions is None:
        return None
    return [
        None if entries is None else {token_id: Logprob(*rest) for token_id, *rest in entries} for entries in positions
    ]


@dataclasses.dataclass
class CompletionOutput:
    """One of the `n` answers to a prompt.

    `finish_reason` is "stop", "length", "abort" or "error"; `stop_reason` is the stop string or the token id that ended it,
    None for the end-of-sequence token. `logprobs` has one dictionary for each of `token_ids`, when they were asked for.
    """

    index: int
    text: str
    token_ids: Sequence[int]
    cumulative_logprob: float | None
    logprobs: SampleLogprobs | None
    routed_experts: Any = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    lora_request: Any = None

    def finished(self) -> bool:
        """Whether this answer has ended."""
        return self.finish_reason is not None


@dataclasses.dataclass
class RequestStateStats:
    """Seconds on a monotonic clock that starts with the engine."""

    num_generation_tokens: int = 0
    arrival_time: float = 0.0
    queued_ts: float = 0.0
    scheduled_ts: float = 0.0
    first_token_ts: float = 0.0
    last_token_ts: float = 0.0


@dataclasses.dataclass
class RequestOutput:
    """A prompt and its answers in `outputs`, ordered by index.

    `prompt_logprobs` starts with None, since nothing comes before the first token. `num_cached_tokens` counts the prompt
    tokens that the prefix cache supplied.
    """

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int] | None
    prompt_logprobs: PromptLogprobs | None
    outputs: list[CompletionOutput]
    finished: bool
    metrics: RequestStateStats | None = None
    lora_request: Any = None
    encoder_prompt: str | None = None
    encoder_prompt_token_ids: list[int] | None = None
    num_cached_tokens: int | None = None
    num_cache_creation_tokens: int | None = None
    kv_transfer_params: dict[str, Any] | None = None

    @classmethod
    def from_engine(cls, fields: dict[str, Any]) -> "RequestOutput":
        """From the dictionary that the extension module makes."""
        outputs = [
            CompletionOutput(**{**completion, "logprobs": _logprobs(completion["logprobs"])})
            for completion in fields["outputs"]
        ]
        arrival, scheduled, first_token, last_token = fields["metrics"]
        stats = RequestStateStats(
            num_generation_tokens=sum(len(completion.token_ids) for completion in outputs),
            arrival_time=arrival,
            queued_ts=arrival,
            scheduled_ts=scheduled,
            first_token_ts=first_token,
            last_token_ts=last_token,
        )
        return cls(
            **{
                **fields,
                "prompt_logprobs": _logprobs(fields["prompt_logprobs"]),
                "outputs": outputs,
                "metrics": stats,
            }
        )


class StreamedOutput:
    """Makes the outputs of one streamed request. A caller's `request_id` replaces the engine's; the prompt, which the engine
    repeats in cumulative outputs alone, is in every one."""

    def __init__(self, kind: RequestOutputKind, request_id: str | None) -> None:
        self._is_delta = kind == RequestOutputKind.DELTA
        self._fixed: dict[str, Any] = {} if request_id is None else {"request_id": request_id}
        self._n_tokens = 0

    def next(self, fields: dict[str, Any]) -> RequestOutput:
        """From the dictionary that the extension module makes."""
        if "prompt" not in self._fixed:
            self._fixed |= {name: fields[name] for name in ("prompt", "prompt_token_ids")}
        output = RequestOutput.from_engine({**fields, **self._fixed})
        if self._is_delta and output.metrics is not None:
            self._n_tokens += output.metrics.num_generation_tokens
            output.metrics.num_generation_tokens = self._n_tokens
        return output
