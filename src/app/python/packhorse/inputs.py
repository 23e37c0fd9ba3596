"""Prompts in the forms that vLLM takes."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict, Union

from .errors import VLLMValidationError


class TextPrompt(TypedDict):
    """A prompt as text."""

    prompt: str
    cache_salt: NotRequired[str]


class TokensPrompt(TypedDict):
    """A prompt as token ids; `prompt` is only repeated in the output."""

    prompt_token_ids: list[int]
    prompt: NotRequired[str]
    cache_salt: NotRequired[str]


PromptType = Union[str, list[int], TextPrompt, TokensPrompt]


@dataclasses.dataclass
class ParsedPrompt:
    """A prompt as the engine takes it: text, or token ids, which win."""

    text: str | None
    token_ids: list[int] | None
    cache_salt: str = ""

    def salt(self, alone: bool | None) -> str:
        """Of its entries in the prefix cache; one that nothing else has where the prompt is to be computed alone."""
        return os.urandom(16).hex() if alone else self.cache_salt


def _is_token_ids(prompt: Any) -> bool:
    return isinstance(prompt, Sequence) and not isinstance(prompt, str | bytes) and all(
        hasattr(item, "__index__") and not isinstance(item, bool) for item in prompt
    )


def _parse_prompt(prompt: PromptType) -> ParsedPrompt:
    if isinstance(prompt, str):
        return ParsedPrompt(prompt, None)
    if isinstance(prompt, dict):
        unknown = prompt.keys() - {"prompt", "prompt_token_ids", "cache_salt"}
        if unknown := sorted(key for key in unknown if prompt[key]):
            raise VLLMValidationError(
                f"prompt: {unknown[0]} is not supported", parameter=unknown[0], value=prompt[unknown[0]]
            )
        text, token_ids = prompt.get("prompt"), prompt.get("prompt_token_ids")
        if isinstance(text, str | None) and (token_ids is None or _is_token_ids(token_ids)):
            if text is not None or token_ids is not None:
                return ParsedPrompt(text, None if token_ids is None else list(token_ids), prompt.get("cache_salt") or "")
    elif _is_token_ids(prompt):
        return ParsedPrompt(None, list(prompt))
    raise VLLMValidationError(
        f"prompt: not a text, a list of token ids, or a dictionary with 'prompt' or 'prompt_token_ids' "
        f"(got {type(prompt).__name__})",
        parameter="prompt",
        value=prompt,
    )


def parse_prompts(prompts: PromptType | Sequence[PromptType]) -> list[ParsedPrompt]:
    """One prompt, or several of them."""
    is_one = isinstance(prompts, str | dict) or (_is_token_ids(prompts) and len(prompts) > 0)
    return [_parse_prompt(prompt) for prompt in ([prompts] if is_one else prompts)]
