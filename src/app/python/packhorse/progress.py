"""Progress bars with vLLM's texts. tqdm is optional: without it there are none."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

UseTqdm = bool | Callable[..., Any]


def make_bar(use_tqdm: UseTqdm, **settings: Any) -> Any | None:
    """A bar, or None where none is wanted. `use_tqdm` may be a function to call instead of tqdm."""
    if callable(use_tqdm):
        return use_tqdm(**settings)
    if not use_tqdm:
        return None
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(**settings)


def track(items: Sequence, use_tqdm: UseTqdm, desc: str, **settings: Any) -> Iterator:
    """Iterates over `items` under a bar."""
    bar = make_bar(use_tqdm, total=len(items), desc=desc, **settings)
    try:
        for item in items:
            yield item
            if bar is not None:
                bar.update(1)
    finally:
        if bar is not None:
            bar.close()


class LoadBar:
    """Follows the engine's reports while a model loads."""

    def __init__(self, use_tqdm: UseTqdm) -> None:
        self._use_tqdm = use_tqdm
        self._bar: Any | None = None
        self._job = ("", 0)

    def __call__(self, what: str, done: int, total: int) -> None:
        if total == 0 or (what.startswith("Downloading") and self._without_downloads()):
            return
        if (what, total) != self._job:
            self.finish()
            self.close()
            self._job = (what, total)
            desc = "Loading safetensors checkpoint shards" if what.startswith("Loading") else what
            self._bar = make_bar(
                self._use_tqdm, total=total, desc=desc, unit="B" if desc == what else "it", unit_scale=True, dynamic_ncols=True
            )
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    @staticmethod
    def _without_downloads() -> bool:
        """As huggingface_hub's bars are turned off."""
        return os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS", "").upper() in ("1", "ON", "YES", "TRUE")

    def finish(self) -> None:
        """Small parts of the files are read without a report."""
        if self._bar is not None:
            self._bar.update(self._job[1] - self._bar.n)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()


class GenerationBar:
    """"Processed prompts" with the estimated speed: one unit for each output of a request."""

    def __init__(self, use_tqdm: UseTqdm, total: int) -> None:
        self._bar = make_bar(
            use_tqdm, total=total, desc="Processed prompts", dynamic_ncols=True, postfix=self._speed(0.0, 0.0)
        )
        self._n_input = self._n_output = 0

    @staticmethod
    def _speed(n_input: float, n_output: float) -> str:
        return f"est. speed input: {n_input:.2f} toks/s, output: {n_output:.2f} toks/s"

    def finished(self, fields: dict[str, Any]) -> None:
        """Counts the answers of a finished request, or its embedding."""
        if self._bar is None:
            return
        n = max(len(fields["outputs"]), 1)
        self._n_input += len(fields["prompt_token_ids"]) * n
        self._n_output += sum(len(completion["token_ids"]) for completion in fields["outputs"])
        elapsed = max(getattr(self._bar, "format_dict", {}).get("elapsed", 0.0), 1e-9)
        self._bar.postfix = self._speed(self._n_input / elapsed, self._n_output / elapsed)
        self._bar.update(n)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            if hasattr(self._bar, "refresh"):
                self._bar.refresh()
            self._bar.close()
