"""The engine's tokenizer, with the methods of Hugging Face tokenizers that programs around vLLM call."""

import json
import os
from collections.abc import Sequence
from typing import Any

from . import _packhorse
from .messages import to_json


class Encoding(dict[str, list]):
    """What calling a tokenizer returns."""

    @property
    def input_ids(self) -> list:
        """Token ids of the text, or a list of them for each text."""
        return self["input_ids"]


class Tokenizer:
    """What `LLM.get_tokenizer` and `get_tokenizer` return; the first keeps its engine."""

    def __init__(self, engine: "_packhorse.Engine | _packhorse.ModelText") -> None:
        self._engine = engine

    @property
    def eos_token_id(self) -> int | None:
        """The token that ends an answer, of several the main one."""
        return self._engine.eos_token_id

    @property
    def bos_token_id(self) -> int | None:
        """The token that begins a text."""
        return self._engine.bos_token_id

    @property
    def eos_token(self) -> str | None:
        """Its text."""
        return None if self.eos_token_id is None else self.decode(self.eos_token_id)

    @property
    def bos_token(self) -> str | None:
        """Its text."""
        return None if self.bos_token_id is None else self.decode(self.bos_token_id)

    @property
    def vocab_size(self) -> int:
        """Number of logits, padding included."""
        return self._engine.vocab_size

    @property
    def chat_template(self) -> str | None:
        """Jinja text of the chat template in use."""
        return self._engine.chat_template or None

    def __len__(self) -> int:
        return self.vocab_size

    def __call__(self, text: str | Sequence[str], add_special_tokens: bool = True) -> "Encoding":
        if isinstance(text, str):
            return Encoding(input_ids=self.encode(text, add_special_tokens))
        return Encoding(input_ids=[self.encode(item, add_special_tokens) for item in text])

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text."""
        return self._engine.tokenize(text, add_special_tokens)

    def decode(self, token_ids: int | Sequence[int], skip_special_tokens: bool = False) -> str:
        """Text of one token or of several."""
        ids = [token_ids] if hasattr(token_ids, "__index__") else [int(token_id) for token_id in token_ids]
        return self._engine.detokenize(ids, skip_special_tokens)

    def apply_chat_template(
        self,
        conversation: Sequence[dict[str, Any]],
        tools: list[dict[str, Any]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = True,
        keep_parts: bool = False,
        **template_kwargs: Any,
    ) -> str | list[int]:
        """The prompt of a conversation, as token ids, or as text with `tokenize=False`. More keywords become variables of
        the template; `keep_parts` leaves content that is a list of parts as such."""
        text = self._engine.render_chat(
            messages=to_json(conversation, keep_parts),
            tools=json.dumps(tools) if tools else "",
            template_kwargs=json.dumps(template_kwargs) if template_kwargs else "",
            chat_template=chat_template or "",
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
        )
        return self.encode(text, add_special_tokens=False) if tokenize else text


def get_tokenizer(
    tokenizer_name: str | os.PathLike,
    *args: Any,
    tokenizer_mode: str = "auto",
    trust_remote_code: bool = False,
    revision: str | None = None,
    download_dir: str | None = None,
    **kwargs: Any,
) -> Tokenizer:
    """The tokenizer of a model, without its weights: of a folder, a .gguf file, a repo id or "demo". `tokenizer_mode` and more
    arguments are accepted, as in vLLM; there is one kind of tokenizer."""
    options = {"revision": revision, "download_dir": download_dir, "trust_remote_code": trust_remote_code}
    given = {name: value for name, value in options.items() if value is not None}
    return Tokenizer(_packhorse.ModelText(os.fspath(tokenizer_name), given))


def resolve_chat_template(
    tokenizer: Tokenizer,
    chat_template: str | None = None,
    tools: list[dict[str, Any]] | None = None,
    **kwargs: Any,
) -> str | None:
    """The template that a chat is rendered with: the given one, or the tokenizer's own."""
    return chat_template or tokenizer.chat_template
