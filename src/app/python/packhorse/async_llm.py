"""AsyncLLM: an engine for programs on asyncio, as vLLM names it."""

import asyncio
import contextlib
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from typing import Any

from . import _packhorse
from .arguments import add_special_tokens_of, refuse
from .engine_args import EngineArgs
from .errors import EngineDeadError, VLLMValidationError
from .inputs import PromptType, parse_prompts
from .llm import LLM
from .outputs import RequestOutput, StreamedOutput
from .pooling import PoolingParams, PoolingRequestOutput
from .request_queue import add_generation
from .sampling_params import RequestOutputKind, SamplingParams
from .tokenizer import Tokenizer

Fields = dict[str, Any]


class _Stream:
    """Outputs of one request for the coroutine that waits for them; None says that there will be no more."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.loop = asyncio.get_running_loop()
        self.outputs: asyncio.Queue[Fields | None] = asyncio.Queue()
        self.finished = False


class _Reader:
    """Takes outputs from the engine, on a thread of its own, to the event loops that wait for them."""

    def __init__(self, engine: "_packhorse.Engine") -> None:
        self.requests = _packhorse.Requests(engine)
        self._lock = threading.Lock()  # of the next three
        self._streams: dict[str, _Stream] = {}  # until their last output has come
        self._early: dict[str, list[Fields]] = {}  # outputs of requests that are being added
        self.closed = False
        self._thread = threading.Thread(target=self._run, name="packhorse-outputs", daemon=True)
        self._thread.start()

    def start(self, add: Callable[["_packhorse.Requests"], int]) -> _Stream:
        """`add` queues a request and returns its id."""
        if self.closed:
            raise EngineDeadError("the engine was shut down")
        stream = _Stream(add(self.requests))
        key = str(stream.number)
        with self._lock:
            early = self._early.pop(key, [])
            if not any(fields["finished"] for fields in early):
                self._streams[key] = stream
        for fields in early:
            stream.outputs.put_nowait(fields)
        if self.closed:
            stream.outputs.put_nowait(None)
        return stream

    def close(self) -> None:
        """Ends all streams."""
        self.requests.close()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while (outputs := self.requests.next()) is not None:
            self._deliver(outputs)
        with self._lock:
            self.closed = True
            streams = list(self._streams.values())
        for loop in {stream.loop for stream in streams}:
            self._put(loop, [(stream, None) for stream in streams if stream.loop is loop])

    def _deliver(self, outputs: list[Fields]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Stream, Fields | None]]] = {}
        with self._lock:
            for fields in outputs:
                key = fields["request_id"]
                stream = self._streams.get(key)
                if stream is None:
                    self._early.setdefault(key, []).append(fields)
                    continue
                by_loop.setdefault(stream.loop, []).append((stream, fields))
                if fields["finished"]:
                    del self._streams[key]
        for loop, news in by_loop.items():
            self._put(loop, news)

    def _put(self, loop: asyncio.AbstractEventLoop, news: list[tuple[_Stream, Fields | None]]) -> None:
        def put() -> None:
            for stream, fields in news:
                stream.outputs.put_nowait(fields)

        try:
            loop.call_soon_threadsafe(put)
        except RuntimeError:  # the loop is closed: nobody waits any more
            for stream, _ in news:
                self.requests.abort(stream.number)


class _AwaitableTokenizer(Tokenizer):
    """Older releases of vLLM have to be awaited for theirs."""

    def __await__(self) -> Generator[None, None, Tokenizer]:
        yield from ()
        return self


class AsyncLLM:
    """Streams the answers to any number of requests at once. Coroutines of several event loops may share one."""

    def __init__(self, engine_args: EngineArgs) -> None:
        self._llm: LLM | None = LLM.from_engine_args(engine_args)
        self._reader: _Reader | None = _Reader(self._llm._engine)
        self._running: dict[str, int] = {}  # the callers' ids and the engine's
        self._close = weakref.finalize(self, self._reader.close)  # at the interpreter's exit at the latest

    @classmethod
    def from_engine_args(cls, engine_args: EngineArgs, *args: Any, **kwargs: Any) -> "AsyncLLM":
        """Loads the model. More arguments are accepted, as in vLLM, and have no effect."""
        return cls(engine_args)

    async def generate(
        self,
        prompt: PromptType,
        sampling_params: SamplingParams,
        request_id: str,
        *,
        lora_request: Any = None,
        tokenization_kwargs: dict[str, Any] | None = None,
        trace_headers: Any = None,
        priority: int = 0,
        data_parallel_rank: int | None = None,
    ) -> AsyncGenerator[RequestOutput, None]:
        """Completes one prompt, with an output whenever there is more of it. Leaving the loop, and cancelling the task, ends
        the request."""
        refuse(lora_request=lora_request)
        special = add_special_tokens_of(tokenization_kwargs)
        self._engine()._check_generates()
        (parsed,) = parse_prompts([prompt])
        latest_only = sampling_params.output_kind == RequestOutputKind.CUMULATIVE
        streamed = StreamedOutput(sampling_params.output_kind, request_id)
        outputs = self._outputs(
            request_id,
            lambda requests: add_generation(requests, parsed, sampling_params, special, priority),
            latest_only,
        )
        async with contextlib.aclosing(outputs):
            async for fields in outputs:
                yield streamed.next(fields)

    async def encode(
        self,
        prompt: PromptType,
        pooling_params: PoolingParams,
        request_id: str,
        lora_request: Any = None,
        trace_headers: Any = None,
        priority: int = 0,
        tokenization_kwargs: dict[str, Any] | None = None,
    ) -> AsyncGenerator[PoolingRequestOutput, None]:
        """The embedding of one prompt, as an array in `outputs.data` of the one output."""
        refuse(lora_request=lora_request)
        special = add_special_tokens_of(tokenization_kwargs)
        pooling = self._engine()._pooling(pooling_params, "embed")
        (parsed,) = parse_prompts([prompt])
        outputs = self._outputs(
            request_id, lambda requests: pooling.add(requests, parsed, special, priority), latest_only=False
        )
        async with contextlib.aclosing(outputs):
            async for fields in outputs:
                yield PoolingRequestOutput.from_engine({**fields, "request_id": request_id})

    async def _outputs(
        self, request_id: str, add: Callable[["_packhorse.Requests"], int], latest_only: bool
    ) -> AsyncGenerator[Fields, None]:
        if self._reader is None or self.errored:
            raise self.dead_error
        if request_id in self._running:
            message = f"request_id: {request_id!r} is running already"
            raise VLLMValidationError(message, parameter="request_id", value=request_id)
        reader = self._reader
        stream = reader.start(add)
        self._running[request_id] = stream.number
        finished = False
        try:
            while not finished:
                fields = await stream.outputs.get()
                while latest_only and fields is not None and not stream.outputs.empty():
                    fields = stream.outputs.get_nowait()
                if fields is None:
                    raise self.dead_error
                finished = fields["finished"]
                self._check_failure(fields)
                yield fields
        finally:
            del self._running[request_id]
            if not finished:
                reader.requests.abort(stream.number)

    def _check_failure(self, fields: Fields) -> None:
        if any(completion["finish_reason"] == "error" for completion in fields["outputs"]) and self.errored:
            raise self.dead_error

    def _engine(self) -> LLM:
        if self._llm is None:
            raise self.dead_error
        return self._llm

    async def abort(self, request_id: str | Iterable[str], internal: bool = False) -> None:
        """Ends requests; the last output of each has finish_reason "abort". Ids that do not run are ignored."""
        for each in [request_id] if isinstance(request_id, str) else request_id:
            number = self._running.get(each)
            if number is not None and self._reader is not None:
                self._reader.requests.abort(number)

    def get_tokenizer(self) -> Tokenizer:
        """The model's tokenizer; `await` on it gives the same."""
        return _AwaitableTokenizer(self._engine()._engine)

    def get_default_sampling_params(self) -> SamplingParams:
        """What the model's generation_config.json says, over SamplingParams()."""
        return self._engine().get_default_sampling_params()

    async def reset_prefix_cache(self, reset_running_requests: bool = False, reset_connector: bool = False) -> bool:
        """Forgets all cached prefixes."""
        return self._engine().reset_prefix_cache()

    async def check_health(self) -> None:
        """Raises EngineDeadError when the engine runs no more."""
        if not self.is_running:
            raise self.dead_error

    def shutdown(self, timeout: float | None = None) -> None:
        """Ends the engine, with what is unfinished."""
        self._close()
        self._llm = self._reader = None

    @property
    def is_running(self) -> bool:
        """Whether requests can be made."""
        return self._llm is not None and not self.errored

    @property
    def is_stopped(self) -> bool:
        """The contrary."""
        return not self.is_running

    @property
    def errored(self) -> bool:
        """Whether the engine has stopped by itself, for good."""
        return self._llm is not None and self._llm._engine.failure() is not None

    @property
    def dead_error(self) -> EngineDeadError:
        """Why the engine does not run."""
        failure = None if self._llm is None else self._llm._engine.failure()
        return EngineDeadError(failure or "the engine was shut down")


AsyncLLMEngine = AsyncLLM
