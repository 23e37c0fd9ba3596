"""Exceptions. Their texts are the engine's own: one line that names file, tensor, field or parameter, and value."""

from typing import Any


class ModelError(ValueError):
    """A checkpoint, config or tokenizer is not usable."""


class ResourceError(RuntimeError):
    """Memory, a device or an instruction set is missing."""


class VLLMError(Exception):
    """Base of the errors that vLLM's API defines."""


class VLLMClientError(VLLMError):
    """The caller's fault."""


class VLLMValidationError(VLLMClientError, ValueError):
    """A request has an invalid parameter. (ValueError is what older releases of vLLM raised.)"""

    def __init__(self, message: str, *, parameter: str | None = None, value: Any = None) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.value = value


class EngineDeadError(RuntimeError):
    """An AsyncLLM was shut down, or its engine has stopped for good."""


_CLASSES = {
    "usage": ValueError,
    "model": ModelError,
    "resource": ResourceError,
    "io": OSError,
    "request": VLLMValidationError,
    "internal": RuntimeError,
}


def from_engine(kind: str, message: str) -> Exception:
    """The exception for an error of the engine; the extension module calls this."""
    return _CLASSES[kind](message)
