"""Chat messages on their way to the template."""

import json
from collections.abc import Sequence
from typing import Any

from .errors import VLLMValidationError


def _text(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return part["text"]
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    raise VLLMValidationError(f"messages: content of type {kind!r} is not supported", parameter="messages", value=part)


def _message(message: Any, keep_parts: bool) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise VLLMValidationError(
            f"messages: not a dictionary with 'role' and 'content' (got {type(message).__name__})",
            parameter="messages",
            value=message,
        )
    content = message.get("content")
    if not isinstance(content, list):
        return message
    texts = [_text(part) for part in content]
    parts = [{"type": "text", "text": text} for text in texts]
    return {**message, "content": parts if keep_parts else "\n".join(texts)}


def to_json(conversation: Sequence[dict[str, Any]], keep_parts: bool = False) -> str:
    """Text parts of a message are joined by line ends, or kept as a list of parts for templates that want those."""
    return json.dumps([_message(message, keep_parts) for message in conversation], ensure_ascii=False)
