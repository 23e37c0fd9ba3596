"""The engine's tokenizer, with the methods of Hugging Face tokenizers that programs around vLLM call."""

import json
from collections.abc import Sequence
from typing import Any

from .messages import to_json


class Tokenizer:
    def __init__(self, engine: Any) -> None:
        self._engine = engine

    @property
    def eos_token_id(self) -> int | None:
        return self._engine.eos_token_id

    @property
    def bos_token_id(self) -> int | None:
        return self._engine.bos_token_id

    @property
    def vocab_size(self) -> int:
        return self._engine.vocab_size

    @property
    def chat_template(self) -> str | None:
        return self._engine.chat_template or None

    def __len__(self) -> int:
        return self.vocab_size

    def __call__(self, text: str | Sequence[str], add_special_tokens: bool = True) -> dict[str, list]:
        if isinstance(text, str):
            return {"input_ids": self.encode(text, add_special_tokens)}
        return {"input_ids": [self.encode(item, add_special_tokens) for item in text]}

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return self._engine.tokenize(text, add_special_tokens)

    def decode(self, token_ids: int | Sequence[int], skip_special_tokens: bool = False) -> str:
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
        text = self._engine.render_chat(
            messages=to_json(conversation, keep_parts),
            tools=json.dumps(tools) if tools else "",
            template_kwargs=json.dumps(template_kwargs) if template_kwargs else "",
            chat_template=chat_template or "",
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
        )
        return self.encode(text, add_special_tokens=False) if tokenize else text
