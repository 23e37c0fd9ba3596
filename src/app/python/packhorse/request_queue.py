"""Requests on their way through the engine: added at any time, taken out when they are finished."""

import os
from collections.abc import Iterable
from typing import Any

from .inputs import ParsedPrompt
from .outputs import RequestOutput
from .progress import GenerationBar, UseTqdm
from .sampling_params import RequestOutputKind, SamplingParams, naming_parameter


class RequestQueue:
    """Knows the requests that were added and not collected yet."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._n_outputs: dict[str, int] = {}
        self._finished: dict[str, RequestOutput] = {}

    def add(
        self, prompts: Iterable[ParsedPrompt], params: Iterable[SamplingParams], add_special_tokens: bool
    ) -> list[str]:
        """Ids of the new requests; when one of them is refused, none is added."""
        request_ids: list[str] = []
        try:
            for prompt, each in zip(prompts, params):
                request_ids.append(self._add(prompt, each, add_special_tokens))
        except BaseException:
            self._drop(request_ids)
            raise
        return request_ids

    def _add(self, prompt: ParsedPrompt, params: SamplingParams, add_special_tokens: bool) -> str:
        params = params.clone()
        params.output_kind = RequestOutputKind.FINAL_ONLY
        salt = os.urandom(16).hex() if params.skip_reading_prefix_cache else prompt.cache_salt
        with naming_parameter(params):
            request_id = str(self._engine.add(prompt.text, prompt.token_ids, params, add_special_tokens, salt))
        self._n_outputs[request_id] = params.n
        return request_id

    def uncollected(self) -> list[str]:
        """Ids of all requests that were added and not collected."""
        return list(self._n_outputs)

    def collect(self, request_ids: list[str], use_tqdm: UseTqdm) -> list[RequestOutput]:
        """Runs the engine until these are finished. Others get on meanwhile; they are for a later call. Ctrl-C ends these."""
        bar = GenerationBar(use_tqdm, total=sum(self._n_outputs[request_id] for request_id in request_ids))
        try:
            waiting = set(request_ids)
            for request_id in waiting & self._finished.keys():
                waiting.remove(request_id)
                bar.finished(self._finished[request_id])
            while waiting:
                for output in map(RequestOutput.from_engine, self._engine.step()):
                    if output.request_id in self._n_outputs:  # else one that was dropped
                        self._finished[output.request_id] = output
                    if output.request_id in waiting:
                        waiting.remove(output.request_id)
                        bar.finished(output)
            return [self._finished[request_id] for request_id in request_ids]
        finally:
            self._drop(request_ids)
            bar.close()

    def _drop(self, request_ids: list[str]) -> None:
        for request_id in request_ids:
            del self._n_outputs[request_id]
            if self._finished.pop(request_id, None) is None:
                self._engine.abort(int(request_id))
