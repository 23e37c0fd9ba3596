"""LLM: vLLM's offline interface over the engine."""

import dataclasses
import os
import sys
import threading
import warnings
from collections.abc import Generator, Sequence
from typing import Any, TypeVar

from . import _packhorse, arguments, metrics
from .arguments import add_special_tokens_of, refuse
from .beam_search import BeamSearcher, BeamSearchOutput
from .engine_args import EngineArgs
from .errors import VLLMValidationError
from .inputs import ParsedPrompt, PromptType, parse_prompts
from .outputs import RequestOutput
from .pooling import (
    EmbeddingRequestOutput,
    OtherPoolingMethods,
    PoolerConfig,
    Pooling,
    PoolingParams,
    PoolingRequestOutput,
    pooling_of,
)
from .progress import LoadBar, UseTqdm, track
from .request_queue import RequestQueue
from .sampling_params import BeamSearchParams, SamplingParams
from .tokenizer import Tokenizer

Conversation = Sequence[dict[str, Any]]
Output = TypeVar("Output", bound=PoolingRequestOutput)


def _priorities(priority: Sequence[int] | None, n_prompts: int) -> Sequence[int]:
    if priority is None:
        return [0] * n_prompts
    if len(priority) != n_prompts:
        raise ValueError(f"priority: one for each prompt is needed (got {len(priority)}, prompts {n_prompts})")
    return priority


class LLM(OtherPoolingMethods):
    """Loads a model and generates text with it. Any number of threads may share one.

    `model` is a folder, a .gguf file, a repo id in the hub cache, or "demo". Arguments have vLLM's names, defaults and
    meanings; those that only steer vLLM's own machinery are accepted and have no effect.
    """

    def __init__(
        self,
        model: str | os.PathLike,
        *,
        runner: str = "auto",
        convert: str = "auto",
        tokenizer: str | os.PathLike | None = None,
        tokenizer_mode: str = "auto",
        skip_tokenizer_init: bool = False,
        trust_remote_code: bool = False,
        tensor_parallel_size: int = 1,
        dtype: Any = "auto",
        quantization: str | None = None,
        revision: str | None = None,
        tokenizer_revision: str | None = None,
        chat_template: str | os.PathLike | None = None,
        seed: int = 0,
        gpu_memory_utilization: float = 0.92,
        cpu_offload_gb: float = 0,
        enforce_eager: bool = False,
        hf_token: bool | str | None = None,
        hf_overrides: Any = None,
        pooler_config: Any = None,
        structured_outputs_config: Any = None,
        kv_cache_memory_bytes: int | None = None,
        compilation_config: Any = None,
        quantization_config: dict[str, Any] | str | None = None,
        logits_processors: Sequence[Any] | None = None,
        use_tqdm_on_load: UseTqdm = True,
        generation_config: str = "auto",
        override_generation_config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        given = {**locals(), **kwargs}
        for name in (
            "self", "kwargs", "model", "tokenizer_revision", "use_tqdm_on_load", "pooler_config",
        ):  # fmt: skip
            given.pop(name)
        if tokenizer_revision not in (None, revision):
            raise ValueError(f"tokenizer_revision: not supported unless equal to revision (got {tokenizer_revision!r})")
        options = arguments.engine_options(given)
        self._runner, self._pooler_config = runner, PoolerConfig.of(pooler_config)
        self._engine = self._open(os.fspath(model), options, LoadBar(use_tqdm_on_load))
        self._name = os.fspath(model)
        self._of_thread = threading.local()  # `queue`: the requests of each thread

    @classmethod
    def from_engine_args(cls, engine_args: EngineArgs) -> "LLM":
        """The same as `LLM(**dataclasses.asdict(engine_args))`."""
        return cls(**dataclasses.asdict(engine_args))

    @staticmethod
    def _open(model: str, options: dict[str, Any], bar: LoadBar) -> Any:
        if model == "demo":  # pip is that of the running interpreter
            os.environ.setdefault("PACKHORSE_PYTHON", sys.executable)
        try:
            engine = _packhorse.Engine(model, options, bar)
            bar.finish()
            for warning in engine.warnings:
                warnings.warn(warning, stacklevel=3)
            return engine
        except TypeError as error:
            raise TypeError(f"LLM.__init__() got an {error}") from None
        finally:
            bar.close()

    def generate(
        self,
        prompts: PromptType | Sequence[PromptType],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: UseTqdm = True,
        lora_request: Any = None,
        priority: list[int] | None = None,
        tokenization_kwargs: dict[str, Any] | None = None,
        mm_processor_kwargs: dict[str, Any] | None = None,
    ) -> list[RequestOutput]:
        """Completes each prompt; results are in the order of the prompts."""
        request_ids = self.enqueue(
            prompts, sampling_params, lora_request, priority, use_tqdm, tokenization_kwargs, mm_processor_kwargs
        )
        return self._queue.collect(request_ids, use_tqdm, RequestOutput.from_engine)

    def enqueue(
        self,
        prompts: PromptType | Sequence[PromptType],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        lora_request: Any = None,
        priority: list[int] | None = None,
        use_tqdm: UseTqdm = True,
        tokenization_kwargs: dict[str, Any] | None = None,
        mm_processor_kwargs: dict[str, Any] | None = None,
    ) -> list[str]:
        """Queues prompts and returns the ids of their requests; in the same thread, `wait_for_completion` returns the results."""
        self._check_generates()
        refuse(lora_request=lora_request, mm_processor_kwargs=mm_processor_kwargs)
        add_special_tokens = add_special_tokens_of(tokenization_kwargs)
        parsed = list(track(parse_prompts(prompts), use_tqdm, "Rendering prompts"))
        params = self._params_for(len(parsed), sampling_params)
        return self._queue.add(parsed, params, add_special_tokens, _priorities(priority, len(parsed)))

    @property
    def _queue(self) -> RequestQueue:
        if not hasattr(self._of_thread, "queue"):
            self._of_thread.queue = RequestQueue(self._engine)
        return self._of_thread.queue

    def _check_generates(self) -> None:
        if self._runner == "pooling":
            raise ValueError('runner: "pooling" is for embeddings only; text needs "generate" or "auto"')

    def stream(
        self,
        prompt: PromptType,
        sampling_params: SamplingParams | None = None,
        *,
        request_id: str | None = None,
        priority: int = 0,
    ) -> Generator[RequestOutput, None, None]:
        """Completes one prompt, with an output whenever there is more of it: all of it so far, or, with
        RequestOutputKind.DELTA, what is new. The request is queued at once; closing the iterator ends it."""
        self._check_generates()
        (parsed,) = parse_prompts([prompt])
        params = sampling_params or self.get_default_sampling_params()
        return RequestQueue(self._engine).stream(parsed, params, priority, request_id)

    def wait_for_completion(self, output_type: Any = None, *, use_tqdm: UseTqdm = True) -> list[RequestOutput]:
        """Results of all requests that this thread queued by `enqueue` and `enqueue_chat`, in the order in which they were
        queued."""
        if output_type is not None and not issubclass(RequestOutput, output_type):
            raise TypeError(f"output_type: only RequestOutput comes out of this engine (got {output_type!r})")
        return self._queue.collect(self._queue.uncollected(), use_tqdm, RequestOutput.from_engine)

    def chat(
        self,
        messages: Conversation | Sequence[Conversation],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        use_tqdm: UseTqdm = True,
        lora_request: Any = None,
        priority: list[int] | None = None,
        chat_template: str | None = None,
        chat_template_content_format: str = "auto",
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: list[dict[str, Any]] | None = None,
        chat_template_kwargs: dict[str, Any] | None = None,
        tokenization_kwargs: dict[str, Any] | None = None,
        mm_processor_kwargs: dict[str, Any] | None = None,
    ) -> list[RequestOutput]:
        """Answers one conversation, or several of them."""
        request_ids = self.enqueue_chat(
            messages, sampling_params, use_tqdm, lora_request, priority, chat_template, chat_template_content_format,
            add_generation_prompt, continue_final_message, tools, chat_template_kwargs, tokenization_kwargs,
            mm_processor_kwargs,
        )  # fmt: skip
        return self._queue.collect(request_ids, use_tqdm, RequestOutput.from_engine)

    def enqueue_chat(
        self,
        messages: Conversation | Sequence[Conversation],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        use_tqdm: UseTqdm = True,
        lora_request: Any = None,
        priority: list[int] | None = None,
        chat_template: str | None = None,
        chat_template_content_format: str = "auto",
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: list[dict[str, Any]] | None = None,
        chat_template_kwargs: dict[str, Any] | None = None,
        tokenization_kwargs: dict[str, Any] | None = None,
        mm_processor_kwargs: dict[str, Any] | None = None,
    ) -> list[str]:
        """Queues conversations as `enqueue` queues prompts."""
        self._check_generates()
        refuse(
            lora_request=lora_request,
            tokenization_kwargs=tokenization_kwargs,
            mm_processor_kwargs=mm_processor_kwargs,
        )
        if not messages:
            raise VLLMValidationError("messages: empty", parameter="messages", value=messages)
        conversations = [messages] if isinstance(messages[0], dict) else list(messages)
        tokenizer = self.get_tokenizer()
        prompts = [
            ParsedPrompt(
                tokenizer.apply_chat_template(
                    conversation,
                    tools=tools,
                    chat_template=chat_template,
                    add_generation_prompt=add_generation_prompt,
                    continue_final_message=continue_final_message,
                    tokenize=False,
                    keep_parts=chat_template_content_format == "openai",
                    **(chat_template_kwargs or {}),
                ),
                None,
            )
            for conversation in track(conversations, use_tqdm, "Rendering conversations")
        ]
        params = self._params_for(len(prompts), sampling_params)
        return self._queue.add(prompts, params, False, _priorities(priority, len(prompts)))

    def beam_search(
        self,
        prompts: PromptType | Sequence[PromptType],
        params: BeamSearchParams,
        lora_request: Any = None,
        use_tqdm: UseTqdm = False,
        concurrency_limit: int | None = None,
    ) -> list[BeamSearchOutput]:
        """The likeliest texts for each prompt; `concurrency_limit` is how many prompts are searched at the same time."""
        self._check_generates()
        refuse(lora_request=lora_request)
        parsed = parse_prompts(prompts)
        if concurrency_limit is not None and concurrency_limit < 1:
            raise VLLMValidationError(
                f"concurrency_limit must be at least 1, got {concurrency_limit}",
                parameter="concurrency_limit",
                value=concurrency_limit,
            )

        def run(beams: list[ParsedPrompt], each: SamplingParams) -> list[RequestOutput]:
            request_ids = self._queue.add(beams, [each] * len(beams), False, [0] * len(beams))
            return self._queue.collect(request_ids, False, RequestOutput.from_engine)

        searcher = BeamSearcher(run, params, self.get_tokenizer(), self._engine.max_model_len)
        n_together = concurrency_limit or max(len(parsed), 1)
        groups = [parsed[start : start + n_together] for start in range(0, len(parsed), n_together)]
        return [output for group in groups for output in searcher.search(group, use_tqdm)]

    def embed(
        self,
        prompts: PromptType | Sequence[PromptType],
        *,
        pooling_params: PoolingParams | None = None,
        use_tqdm: UseTqdm = True,
        lora_request: Any = None,
        tokenization_kwargs: dict[str, Any] | None = None,
    ) -> list[EmbeddingRequestOutput]:
        """One vector for each prompt, as a list of numbers in `outputs.embedding`."""
        return self._embed(
            prompts, pooling_params, "embed", use_tqdm, lora_request, tokenization_kwargs, EmbeddingRequestOutput
        )

    def encode(
        self,
        prompts: PromptType | Sequence[PromptType],
        pooling_params: PoolingParams | None = None,
        *,
        pooling_task: str | None = None,
        use_tqdm: UseTqdm = True,
        lora_request: Any = None,
        tokenization_kwargs: dict[str, Any] | None = None,
    ) -> list[PoolingRequestOutput]:
        """With `pooling_task="embed"`, the only one, the same as `embed`, as arrays in `outputs.data`."""
        return self._embed(
            prompts, pooling_params, pooling_task, use_tqdm, lora_request, tokenization_kwargs, PoolingRequestOutput
        )

    def _embed(
        self,
        prompts: PromptType | Sequence[PromptType],
        pooling_params: PoolingParams | None,
        task: str | None,
        use_tqdm: UseTqdm,
        lora_request: Any,
        tokenization_kwargs: dict[str, Any] | None,
        output_type: type[Output],
    ) -> list[Output]:
        pooling = self._pooling(pooling_params, task)
        refuse(lora_request=lora_request)
        add_special_tokens = add_special_tokens_of(tokenization_kwargs)
        parsed = list(track(parse_prompts(prompts), use_tqdm, "Rendering prompts"))
        request_ids = self._queue.embed(parsed, pooling, add_special_tokens)
        return self._queue.collect(request_ids, use_tqdm, output_type.from_engine)

    def _pooling(self, params: PoolingParams | None, task: str | None) -> Pooling:
        if self._runner == "generate":
            raise ValueError('runner: "generate" is for text only; embeddings need "pooling" or "auto"')
        return pooling_of(self._pooler_config, params, task)

    def _params_for(
        self, n_prompts: int, sampling_params: SamplingParams | Sequence[SamplingParams] | None
    ) -> list[SamplingParams]:
        if sampling_params is None:
            sampling_params = self.get_default_sampling_params()
        if isinstance(sampling_params, SamplingParams):
            return [sampling_params] * n_prompts
        if len(sampling_params) != n_prompts:
            raise ValueError(
                f"sampling_params: one for each prompt is needed (got {len(sampling_params)}, prompts {n_prompts})"
            )
        return list(sampling_params)

    def get_tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return Tokenizer(self._engine)

    def get_default_sampling_params(self) -> SamplingParams:
        """What `override_generation_config` and the model's generation_config.json say, over SamplingParams()."""
        return SamplingParams(**self._engine.default_sampling())

    def get_world_size(self, include_dp: bool = True) -> int:
        """Number of devices that work together."""
        return 1

    def get_metrics(self) -> list[metrics.Metric]:
        """Counts since the start, and what is in flight, as of the last step."""
        return metrics.from_stats(self._engine.stats(), self._name)

    def reset_prefix_cache(self, reset_running_requests: bool = False, reset_connector: bool = False) -> bool:
        """Forgets all cached prefixes."""
        self._engine.reset_prefix_cache()
        return True
