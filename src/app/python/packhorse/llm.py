"""LLM: vLLM's offline interface over the engine."""

import os
import sys
from collections.abc import Sequence
from typing import Any

from . import _packhorse, arguments
from .errors import VLLMValidationError
from .inputs import ParsedPrompt, PromptType, parse_prompts
from .outputs import RequestOutput
from .progress import GenerationBar, LoadBar, UseTqdm, track
from .sampling_params import RequestOutputKind, SamplingParams
from .tokenizer import Tokenizer

_DEFAULTS = {
    "tokenizer": None,
    "skip_tokenizer_init": False,
    "trust_remote_code": False,
    "tensor_parallel_size": 1,
    "dtype": "auto",
    "quantization": None,
    "revision": None,
    "chat_template": None,
    "seed": 0,
    "gpu_memory_utilization": 0.92,
    "hf_token": None,
    "quantization_config": None,
}


def _refuse(**given: Any) -> None:
    for name, value in given.items():
        if value:
            raise VLLMValidationError(f"{name}: not supported yet (got {value!r})", parameter=name, value=value)


class LLM:
    """Loads a model and generates text with it.

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
        for name in ("self", "kwargs", "model", "tokenizer_revision", "use_tqdm_on_load", "override_generation_config"):
            given.pop(name)
        if tokenizer_revision not in (None, revision):
            raise ValueError(f"tokenizer_revision: not supported unless equal to revision (got {tokenizer_revision!r})")
        options = arguments.engine_options(given, {**_DEFAULTS, "generation_config": "auto"})
        self._default_overrides = dict(override_generation_config or {})
        self._engine = self._open(os.fspath(model), options, LoadBar(use_tqdm_on_load))

    @staticmethod
    def _open(model: str, options: dict[str, Any], bar: LoadBar) -> Any:
        if model == "demo":  # pip is that of the running interpreter
            os.environ.setdefault("PACKHORSE_PYTHON", sys.executable)
        try:
            engine = _packhorse.Engine(model, options, bar)
            bar.finish()
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
        _refuse(lora_request=lora_request, priority=any(priority or []), mm_processor_kwargs=mm_processor_kwargs)
        tokenization = dict(tokenization_kwargs or {})
        add_special_tokens = tokenization.pop("add_special_tokens", True)
        _refuse(tokenization_kwargs=tokenization)
        parsed = list(track(parse_prompts(prompts), use_tqdm, "Rendering prompts"))
        return self._run(parsed, sampling_params, use_tqdm, add_special_tokens)

    def chat(
        self,
        messages: Sequence[dict[str, Any]] | Sequence[Sequence[dict[str, Any]]],
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
        _refuse(
            lora_request=lora_request,
            priority=any(priority or []),
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
        return self._run(prompts, sampling_params, use_tqdm, add_special_tokens=False)

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

    def _run(
        self,
        prompts: list[ParsedPrompt],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None,
        use_tqdm: UseTqdm,
        add_special_tokens: bool,
    ) -> list[RequestOutput]:
        params = self._params_for(len(prompts), sampling_params)
        waiting: set[int] = set()
        results = []
        bar = GenerationBar(use_tqdm, total=sum(each.n for each in params))
        try:
            for prompt, each in zip(prompts, params):
                waiting.add(self._add(prompt, each, add_special_tokens))
            while waiting:
                for output in map(RequestOutput.from_engine, self._engine.step()):
                    if int(output.request_id) in waiting:  # else one that was aborted before
                        waiting.remove(int(output.request_id))
                        results.append(output)
                        bar.finished(output)
        finally:
            for request_id in waiting:  # after Ctrl-C or an error
                self._engine.abort(request_id)
            bar.close()
        return sorted(results, key=lambda output: int(output.request_id))

    def _add(self, prompt: ParsedPrompt, params: SamplingParams, add_special_tokens: bool) -> int:
        params = params.clone()
        params.output_kind = RequestOutputKind.FINAL_ONLY
        salt = os.urandom(16).hex() if params.skip_reading_prefix_cache else prompt.cache_salt
        return self._engine.add(prompt.text, prompt.token_ids, params, add_special_tokens, salt)

    def get_tokenizer(self) -> Tokenizer:
        return Tokenizer(self._engine)

    def get_default_sampling_params(self) -> SamplingParams:
        """What the model's generation_config.json says, over SamplingParams()."""
        fields = self._engine.default_sampling()
        overrides = dict(self._default_overrides)
        if "max_new_tokens" in overrides:
            overrides["max_tokens"] = overrides.pop("max_new_tokens")
        return SamplingParams(**{**fields, **overrides})

    def get_world_size(self) -> int:
        return 1

    def reset_prefix_cache(self) -> bool:
        self._engine.reset_prefix_cache()
        return True
