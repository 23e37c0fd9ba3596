"""Beam search over the engine: each step asks it for one token of every beam, with log-probabilities, as vLLM does."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from .inputs import ParsedPrompt, TokensPrompt
from .outputs import LogprobsOnePosition, RequestOutput
from .progress import UseTqdm, track
from .sampling_params import BeamSearchParams, SamplingParams


@dataclasses.dataclass
class BeamSearchSequence:
    """One text: `tokens` are those of the prompt and of the answer, `text` is all of them decoded."""

    orig_prompt: TokensPrompt
    tokens: list[int]
    logprobs: list[LogprobsOnePosition]
    lora_request: Any = None
    cum_logprob: float = 0.0
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None

    def extended(self, token_id: int, logprobs: LogprobsOnePosition) -> "BeamSearchSequence":
        """This text with one more token, of those that `logprobs` has."""
        return dataclasses.replace(
            self,
            tokens=[*self.tokens, token_id],
            logprobs=[*self.logprobs, logprobs],
            cum_logprob=self.cum_logprob + logprobs[token_id].logprob,
        )


@dataclasses.dataclass
class BeamSearchOutput:
    """The best texts for a prompt, at most `beam_width`, the best first."""

    sequences: list[BeamSearchSequence]


def get_beam_search_score(
    tokens: Sequence[int], cumulative_logprob: float, eos_token_id: int | None, length_penalty: float = 1.0
) -> float:
    """What texts are ranked by. The end-of-sequence token does not count as length."""
    length = len(tokens) - (tokens[-1] == eos_token_id)
    return cumulative_logprob / length**length_penalty


class _Search:
    """The beams of one prompt, and the texts that have ended."""

    def __init__(self, prompt: ParsedPrompt, token_ids: list[int]) -> None:
        self.cache_salt = prompt.cache_salt
        original = TokensPrompt(prompt_token_ids=token_ids)
        if prompt.text is not None:
            original["prompt"] = prompt.text
        self.beams = [BeamSearchSequence(original, token_ids, [])]
        self.completed: list[BeamSearchSequence] = []


class BeamSearcher:
    """`run` answers prompts with their outputs, all with the same parameters; `max_length` is the context in tokens."""

    def __init__(
        self,
        run: Callable[[list[ParsedPrompt], SamplingParams], list[RequestOutput]],
        params: BeamSearchParams,
        tokenizer: Any,
        max_length: int,
    ) -> None:
        self._run = run
        self._params = params
        self._tokenizer = tokenizer
        self._max_length = max_length
        # Even if all beams but one end here, enough candidates are left to go on with.
        self._step_params = SamplingParams(
            logprobs=2 * params.beam_width, max_tokens=1, temperature=params.temperature
        )

    def search(self, prompts: list[ParsedPrompt], use_tqdm: UseTqdm) -> list[BeamSearchOutput]:
        """The best texts for each prompt; all prompts advance together."""
        searches = [_Search(prompt, self._token_ids(prompt)) for prompt in prompts]
        for _ in track(range(self._params.max_tokens), use_tqdm, "Beam search", unit="token"):
            if not self._step(searches):
                break
        return [self._best(search) for search in searches]

    def _token_ids(self, prompt: ParsedPrompt) -> list[int]:
        return self._tokenizer.encode(prompt.text) if prompt.token_ids is None else prompt.token_ids

    def _score(self, beam: BeamSearchSequence) -> float:
        return get_beam_search_score(
            beam.tokens, beam.cum_logprob, self._tokenizer.eos_token_id, self._params.length_penalty
        )

    def _is_full(self, beam: BeamSearchSequence) -> bool:
        """A prompt that is too long by itself is the engine's to refuse."""
        return len(beam.tokens) >= self._max_length and len(beam.logprobs) > 0

    def _step(self, searches: list[_Search]) -> bool:
        """One token more for every beam; False when none is left."""
        for search in searches:
            full = [beam for beam in search.beams if self._is_full(beam)]
            search.completed += [dataclasses.replace(beam, finish_reason="length") for beam in full]
            search.beams = [beam for beam in search.beams if not self._is_full(beam)]
        prompts = [ParsedPrompt(None, beam.tokens, search.cache_salt) for search in searches for beam in search.beams]
        if not prompts:
            return False
        outputs = iter(self._run(prompts, self._step_params))
        for search in searches:
            self._extend(search, [next(outputs) for _ in search.beams])
        return True

    def _extend(self, search: _Search, outputs: list[RequestOutput]) -> None:
        going_on = []
        for beam, output in zip(search.beams, outputs):
            completion = output.outputs[0]
            if completion.finish_reason == "error" or not completion.logprobs:
                raise RuntimeError("beam search: the model's logits are not finite")
            (logprobs,) = completion.logprobs
            for token_id in logprobs:
                longer = beam.extended(token_id, logprobs)
                if token_id == self._tokenizer.eos_token_id and not self._params.ignore_eos:
                    search.completed.append(dataclasses.replace(longer, finish_reason="stop"))
                else:
                    going_on.append(longer)
        search.beams = sorted(going_on, key=self._score, reverse=True)[: self._params.beam_width]

    def _best(self, search: _Search) -> BeamSearchOutput:
        best = sorted(search.completed + search.beams, key=self._score, reverse=True)[: self._params.beam_width]
        return BeamSearchOutput([dataclasses.replace(beam, text=self._tokenizer.decode(beam.tokens)) for beam in best])
