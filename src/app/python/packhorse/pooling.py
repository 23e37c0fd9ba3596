"""Embeddings with vLLM's names, and what vLLM offers for models with other heads: each of these says that there are none."""

import dataclasses
from typing import Any, NoReturn, Self

import numpy as np

from . import _packhorse
from .errors import VLLMValidationError
from .inputs import ParsedPrompt
from .sampling_params import RequestOutputKind


def _refuse(name: str) -> NoReturn:
    raise VLLMValidationError(f"{name}: of the pooling tasks, only embed is supported", parameter=name)


@dataclasses.dataclass
class PoolingParams:
    """How a prompt becomes one vector. `dimensions` keeps the first ones; `normalize` (or `use_activation`, its newer name)
    makes its length 1, which is the default."""

    dimensions: int | None = None
    normalize: bool | None = None
    use_activation: bool | None = None
    truncate_prompt_tokens: int | None = None
    step_tag_id: int | None = None
    returned_token_ids: list[int] | None = None
    task: str | None = None
    skip_reading_prefix_cache: bool | None = None
    extra_kwargs: dict[str, Any] | None = None
    output_kind: RequestOutputKind = RequestOutputKind.FINAL_ONLY

    def __post_init__(self) -> None:
        for name in ("truncate_prompt_tokens", "step_tag_id", "returned_token_ids", "extra_kwargs"):
            value = getattr(self, name)
            if value not in (None, {}):
                raise VLLMValidationError(f"{name}: not supported yet (got {value!r})", parameter=name, value=value)
        if self.task not in (None, "embed"):
            _refuse(f"task={self.task!r}")
        if None not in (self.normalize, self.use_activation) and self.normalize != self.use_activation:
            raise VLLMValidationError(
                f"normalize={self.normalize} contradicts use_activation={self.use_activation}", parameter="normalize",
                value=self.normalize,
            )  # fmt: skip


@dataclasses.dataclass
class PoolerConfig:
    """Defaults of a model's embeddings: `pooling_type` is LAST or MEAN."""

    pooling_type: str | None = None
    seq_pooling_type: str | None = None
    normalize: bool | None = None
    use_activation: bool | None = None
    dimensions: int | None = None

    @classmethod
    def of(cls, value: "PoolerConfig | dict[str, Any] | None") -> "PoolerConfig":
        """As `pooler_config` gives it; an object with the same attributes will do."""
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(value, dict | None):
            value = {name: getattr(value, name, None) for name in names}
        given = {name: each for name, each in (value or {}).items() if each is not None}
        if unknown := sorted(given.keys() - set(names)):
            raise ValueError(f"pooler_config: {unknown[0]} is not supported (known: {', '.join(names)})")
        config = cls(**given)
        if config.kind not in ("LAST", "MEAN"):
            raise ValueError(f"pooler_config: pooling_type: not LAST or MEAN (got {config.kind!r})")
        return config

    @property
    def kind(self) -> str:
        """What was asked for under either name, or LAST."""
        return str(self.pooling_type or self.seq_pooling_type or "LAST").upper()


@dataclasses.dataclass
class Pooling:
    """What one call asks for: its parameters, and the model's for those that it leaves open."""

    config: PoolerConfig
    params: PoolingParams

    def add(
        self, requests: "_packhorse.Requests", prompt: ParsedPrompt, add_special_tokens: bool, priority: int
    ) -> int:
        """Queues one prompt; the id of its request."""
        config, params = self.config, self.params
        wishes = (params.normalize, params.use_activation, config.normalize, config.use_activation)
        normalize = next((wish for wish in wishes if wish is not None), True)
        dimensions = config.dimensions if params.dimensions is None else params.dimensions
        salt = prompt.salt(params.skip_reading_prefix_cache)
        return requests.embed(
            prompt.text, prompt.token_ids, config.kind == "MEAN", normalize, dimensions, add_special_tokens, salt,
            priority,
        )  # fmt: skip


@dataclasses.dataclass
class PoolingOutput:
    """A vector as `LLM.encode` returns it."""

    data: np.ndarray


@dataclasses.dataclass
class EmbeddingOutput:
    """A vector as `LLM.embed` returns it."""

    embedding: list[float]

    @property
    def hidden_size(self) -> int:
        """Its number of dimensions."""
        return len(self.embedding)


@dataclasses.dataclass
class PoolingRequestOutput:
    """A prompt and its vector, in `outputs`."""

    request_id: str
    outputs: Any
    prompt_token_ids: list[int]
    num_cached_tokens: int
    finished: bool

    @classmethod
    def from_engine(cls, fields: dict[str, Any]) -> Self:
        """From the dictionary that the extension module makes."""
        return cls(
            fields["request_id"],
            cls._output(_vector(fields)),
            fields["prompt_token_ids"],
            fields["num_cached_tokens"],
            fields["finished"],
        )

    @staticmethod
    def _output(vector: list[float]) -> Any:
        return PoolingOutput(np.array(vector, dtype=np.float32))


class EmbeddingRequestOutput(PoolingRequestOutput):
    """The same with an EmbeddingOutput."""

    outputs: EmbeddingOutput

    @staticmethod
    def _output(vector: list[float]) -> EmbeddingOutput:
        return EmbeddingOutput(vector)


def _vector(fields: dict[str, Any]) -> list[float]:
    vector = fields.get("embedding")
    if vector is None:
        reasons = [completion["finish_reason"] for completion in fields["outputs"]]
        raise RuntimeError(f"request {fields['request_id']} ended without an embedding ({', '.join(reasons)})")
    return vector


def pooling_of(
    config: PoolerConfig, params: PoolingParams | None, task: str | None = "embed"
) -> Pooling:
    """What a call asks for, of a task that there is."""
    if task is None:
        raise ValueError('pooling_task: needed by encode (allowed: "embed")')
    if task != "embed":
        _refuse(f"pooling_task={task!r}")
    if params is None:
        params = PoolingParams()
    if not isinstance(params, PoolingParams):
        raise VLLMValidationError(
            f"pooling_params: not a PoolingParams (got {type(params).__name__})", parameter="pooling_params", value=params
        )
    return Pooling(config, params)


class OtherPoolingMethods:
    """The methods of vLLM's LLM for models with other heads."""

    def classify(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported."""
        _refuse("LLM.classify")

    def reward(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported."""
        _refuse("LLM.reward")

    def score(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported."""
        _refuse("LLM.score")
