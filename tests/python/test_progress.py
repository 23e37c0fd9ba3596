"""Progress bars have vLLM's texts and follow `use_tqdm`."""

import functools
import io

import pytest

from packhorse import LLM, SamplingParams

tqdm = pytest.importorskip("tqdm")
PARAMS = SamplingParams(temperature=0, max_tokens=4)


class Recorder:
    """Stands for tqdm and keeps what happens to the bars."""

    bars = []

    def __init__(self, **settings):
        self.settings, self.n, self.closed, self.postfix = settings, 0, False, settings.get("postfix")
        self.format_dict = {"elapsed": 2.0}
        Recorder.bars.append(self)

    def update(self, n):
        self.n += n

    def close(self):
        self.closed = True


@pytest.fixture
def bars():
    Recorder.bars = []
    return Recorder.bars


def test_bars_of_a_generation(nf4_directory, bars):
    llm = LLM(nf4_directory, max_model_len=64, use_tqdm_on_load=Recorder)
    assert [bar.settings["desc"] for bar in bars] == ["Loading safetensors checkpoint shards"]
    assert bars[0].n == bars[0].settings["total"] > 0 and bars[0].closed
    bars.clear()
    params = [PARAMS, SamplingParams(n=2, temperature=0.5, max_tokens=4)]
    outputs = llm.generate(["Hello", "there"], params, use_tqdm=Recorder)
    assert [bar.settings["desc"] for bar in bars] == ["Rendering prompts", "Processed prompts"]
    assert [(bar.settings["total"], bar.n, bar.closed) for bar in bars] == [(2, 2, True), (3, 3, True)]
    assert bars[1].settings["dynamic_ncols"] is True
    assert bars[1].settings["postfix"] == "est. speed input: 0.00 toks/s, output: 0.00 toks/s"
    n_in = sum(len(o.prompt_token_ids) * len(o.outputs) for o in outputs)
    n_out = sum(len(c.token_ids) for o in outputs for c in o.outputs)
    assert bars[1].postfix == f"est. speed input: {n_in / 2:.2f} toks/s, output: {n_out / 2:.2f} toks/s"
    bars.clear()
    template = "{{ messages[0].content }}"
    llm.chat([{"role": "user", "content": "x"}], PARAMS, use_tqdm=Recorder, chat_template=template)
    assert [bar.settings["desc"] for bar in bars] == ["Rendering conversations", "Processed prompts"]


def test_bars_are_on_by_default_and_can_be_off(nf4_directory, capsys):
    llm = LLM(nf4_directory, max_model_len=64)
    assert "Loading safetensors checkpoint shards" in capsys.readouterr().err
    llm.generate("Hello", PARAMS)
    shown = capsys.readouterr().err
    assert "Rendering prompts" in shown and "Processed prompts" in shown and "toks/s" in shown
    llm.generate("Hello", PARAMS, use_tqdm=False)
    LLM(nf4_directory, max_model_len=64, use_tqdm_on_load=False)
    assert capsys.readouterr().err == ""


def test_a_partial_of_tqdm(nf4_directory):
    llm = LLM(nf4_directory, max_model_len=64, use_tqdm_on_load=False)
    out = io.StringIO()
    llm.generate("Hello", PARAMS, use_tqdm=functools.partial(tqdm.tqdm, file=out, ascii=True))
    assert "Processed prompts: 100%" in out.getvalue()
