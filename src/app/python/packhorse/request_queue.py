"""Requests of one caller on their way through the engine: added at any time, taken out when they are finished."""

from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from . import _packhorse
from .inputs import ParsedPrompt
from .outputs import RequestOutput, StreamedOutput
from .pooling import Pooling
from .progress import GenerationBar, UseTqdm
from .sampling_params import RequestOutputKind, SamplingParams, naming_parameter

Output = TypeVar("Output")


def add_generation(
    requests: "_packhorse.Requests", prompt: ParsedPrompt, params: SamplingParams, add_special_tokens: bool, priority: int
) -> int:
    """Queues one prompt; the id of its request."""
    salt = prompt.salt(params.skip_reading_prefix_cache)
    with naming_parameter(params):
        return requests.add(prompt.text, prompt.token_ids, params, add_special_tokens, salt, priority)


class RequestQueue:
    """Knows the requests that were added and not collected yet. The engine is shared, each queue has one user at a time."""

    def __init__(self, engine: "_packhorse.Engine") -> None:
        self._requests = _packhorse.Requests(engine)
        self._n_outputs: dict[str, int] = {}
        self._finished: dict[str, dict[str, Any]] = {}

    def add(
        self,
        prompts: Iterable[ParsedPrompt],
        params: Iterable[SamplingParams],
        add_special_tokens: bool,
        priorities: Iterable[int],
    ) -> list[str]:
        """Ids of the new requests; when one of them is refused, none of them goes on."""

        def add(prompt: ParsedPrompt, each: SamplingParams, priority: int) -> tuple[int, int]:
            each = each.clone()
            each.output_kind = RequestOutputKind.FINAL_ONLY
            return add_generation(self._requests, prompt, each, add_special_tokens, priority), each.n

        return self._add_all(add(*each) for each in zip(prompts, params, priorities))

    def embed(self, prompts: Iterable[ParsedPrompt], pooling: Pooling, add_special_tokens: bool) -> list[str]:
        """The same for embeddings."""
        return self._add_all((pooling.add(self._requests, prompt, add_special_tokens, 0), 1) for prompt in prompts)

    def _add_all(self, added: Iterable[tuple[int, int]]) -> list[str]:
        request_ids: list[str] = []
        try:
            for request_id, n_outputs in added:
                self._n_outputs[str(request_id)] = n_outputs
                request_ids.append(str(request_id))
        except BaseException:
            self._drop(request_ids)
            raise
        return request_ids

    def uncollected(self) -> list[str]:
        """Ids of all requests that were added and not collected."""
        return list(self._n_outputs)

    def collect(
        self, request_ids: list[str], use_tqdm: UseTqdm, convert: Callable[[dict[str, Any]], Output]
    ) -> list[Output]:
        """Waits until these are finished; the rest is for a later call. Ctrl-C ends these."""
        bar = GenerationBar(use_tqdm, total=sum(self._n_outputs[request_id] for request_id in request_ids))
        try:
            waiting = set(request_ids)
            for request_id in waiting & self._finished.keys():
                waiting.remove(request_id)
                bar.finished(self._finished[request_id])
            while waiting:
                for fields in self._next():
                    request_id = fields["request_id"]
                    if request_id in self._n_outputs:  # else one that was dropped
                        self._finished[request_id] = fields
                    if request_id in waiting:
                        waiting.remove(request_id)
                        bar.finished(fields)
            return [convert(self._finished[request_id]) for request_id in request_ids]
        finally:
            self._drop(request_ids)
            bar.close()

    def stream(
        self, prompt: ParsedPrompt, params: SamplingParams, priority: int, request_id: str | None
    ) -> Generator[RequestOutput, None, None]:
        """Queues one prompt at once; its outputs as they come. Closing the iterator, or dropping it, ends the request."""
        number = add_generation(self._requests, prompt, params, True, priority)
        return self._outputs_of(number, StreamedOutput(params.output_kind, request_id))

    def _outputs_of(self, number: int, streamed: StreamedOutput) -> Generator[RequestOutput, None, None]:
        finished = False
        try:
            while not finished:
                for fields in self._next():
                    finished = fields["finished"]
                    yield streamed.next(fields)
        finally:
            if not finished:
                self._requests.abort(number)

    def _next(self) -> list[dict[str, Any]]:
        outputs = self._requests.next()
        if outputs is None:
            raise RuntimeError("the interpreter exits")
        return outputs

    def _drop(self, request_ids: list[str]) -> None:
        for request_id in request_ids:
            del self._n_outputs[request_id]
            if self._finished.pop(request_id, None) is None:
                self._requests.abort(int(request_id))
