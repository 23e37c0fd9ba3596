"""What vLLM offers for models that turn texts into vectors or classes. Packhorse generates text; each of these says so."""

from typing import Any, NoReturn

from .errors import VLLMValidationError


def _refuse(name: str) -> NoReturn:
    raise VLLMValidationError(f"{name}: pooling models are not supported, only text generation", parameter=name)


class PoolingParams:
    """Importable, so that programs which name it run; not to be made."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse("PoolingParams")


class PoolingMethods:
    """The methods of vLLM's LLM for such models."""

    def encode(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported."""
        _refuse("LLM.encode")

    def embed(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported."""
        _refuse("LLM.embed")

    def classify(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported."""
        _refuse("LLM.classify")

    def reward(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported."""
        _refuse("LLM.reward")

    def score(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported."""
        _refuse("LLM.score")
