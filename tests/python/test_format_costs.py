"""bench/format_costs: what results make of the pages of docs/formats, and what it refuses to write."""

import importlib.machinery
import importlib.util
import json
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT

SCRIPT = ROOT / "bench/format_costs"
PAGES = ROOT / "docs/formats"
ABOUT = {"model": "demo", "processor": "Some CPU", "version": "packhorse 9", "threads": 3, "p": 512, "n": 64}


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(SCRIPT.parent))
    loader = importlib.machinery.SourceFileLoader("format_costs", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("format_costs", loader))
    sys.modules["format_costs"] = module
    loader.exec_module(module)
    sys.path.remove(str(SCRIPT.parent))
    return module


@pytest.fixture
def results(script):
    """Made up, each method less exact than the one before."""
    row = {"bits": 4.5, "anonymous_bytes": 123456789, "pp": 1000, "tg": 200, "isa": "avx9", "top1_agreement": 0.75}
    rows = {name: {**row, "mean_kl": n / 100, "perplexity": 34 + n} for n, name in enumerate(script.METHODS)}
    return {"about": ABOUT, "rows": rows}


@pytest.fixture
def write(tmp_path):
    """Runs the script on copies of the pages; changes them first."""
    docs = tmp_path / "docs"
    shutil.copytree(PAGES, docs)

    def run(*results, change=lambda docs: None):
        change(docs)
        before = {path.name: path.read_text() for path in docs.glob("*.md")}
        paths = []
        for n, each in enumerate(results):
            paths.append(tmp_path / f"results-{n}.json")
            paths[-1].write_text(json.dumps(each))
        command = [sys.executable, SCRIPT, "--write", "--docs", docs, "--from", *paths]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True)
        return done, before, {path.name: path.read_text() for path in docs.glob("*.md")}

    return run


def figures(text):
    return re.search(r"^<!-- figures:\w+ -->\n(.*?)^<!-- /figures -->$", text, flags=re.DOTALL | re.MULTILINE)[1]


def labels(text):
    """First cells of the table but its head and rule, without links."""
    lines = [line for line in figures(text).splitlines() if line.startswith("|")]
    return [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line.split("|")[1].strip()) for line in lines[2:]]


def test_rows_name_methods_and_pages_exist(script):
    for name, page in script.PAGES.items():
        assert (PAGES / f"{name}.md").is_file(), name
        assert page.rows and set(page.rows) <= set(script.METHODS), name
    assert set(script.PAGES) == {path.stem for path in PAGES.glob("*.md")} - {"README"}
    for name, method in script.METHODS.items():
        assert (name == script.PLAIN) == (method.quantization == "")
        assert not method.page or name in script.PAGES[method.page].rows, name


def test_methods_are_the_programs(script, run_program):
    """No model is needed to see that a name is known and its settings are."""
    listed = json.loads(run_program("inspect", "--formats", "--json").stdout)["methods"]
    settings = {name: each["settings"] for each in listed if each["in_flight"] for name in [each["name"], *each["aliases"]]}
    for name, method in script.METHODS.items():
        if name != script.PLAIN:
            assert method.quantization in settings, name
            assert set(method.config or {}) <= set(settings[method.quantization]), name


def test_every_page_is_written(script, results, write):
    done, before, after = write(results)
    assert done.returncode == 0, done.stderr
    for name, page in script.PAGES.items():
        text = after[f"{name}.md"]
        assert labels(text) == [script.PLAIN, *page.rows]
        caption = " ".join(figures(text).split())
        assert caption.endswith("Some CPU, avx9, 3 threads; packhorse 9; `bench/format_costs --write`.")
        old = before[f"{name}.md"]
        assert text.replace(figures(text), "") == old.replace(figures(old), ""), "nothing else changes"
    assert labels(after["README.md"]) == list(script.METHODS), "sorted by divergence"
    row = next(line for line in after["awq.md"].splitlines() if "bitblas uint4" in line)
    assert [cell.strip() for cell in row.split("|")[2:6]] == ["4.50", "123", "1000", "200"]


def test_the_overview_is_sorted_and_linked(script, results, write):
    results["rows"]["q8_0"]["mean_kl"] = -1
    text = write(results)[2]["README.md"]
    assert labels(text)[:2] == ["q8_0", script.PLAIN]
    assert "| [q8_0](gguf.md) " in figures(text)


def test_results_of_two_runs(results, write):
    rest = {name: row for name, row in results["rows"].items() if name != "mxfp4"}
    last = {"about": ABOUT, "rows": {"mxfp4": {**results["rows"]["mxfp4"], "tg": 777}}}
    done, _, after = write({"about": ABOUT, "rows": rest}, last)
    assert done.returncode == 0, done.stderr
    assert "777" in figures(after["mxfp4.md"])
    done, before, after = write(results, {**last, "about": {**ABOUT, "threads": 4}})
    assert done.returncode == 1 and "other settings" in done.stderr and before == after


def add_marker(docs):
    (docs / "extra.md").write_text("<!-- figures:extra -->\n<!-- /figures -->\n")


def rename_marker(docs):
    page = docs / "awq.md"
    page.write_text(page.read_text().replace("figures:awq", "figures:gptq"))


def drop_end(docs):
    page = docs / "awq.md"
    page.write_text(page.read_text().replace("<!-- /figures -->", ""))


@pytest.mark.parametrize(
    "change, words",
    [
        (add_marker, "extra.md: markers of figures are ['extra'], expected []"),
        (rename_marker, "awq.md: markers of figures are ['gptq'], expected ['awq']"),
        (drop_end, "awq.md: markers of figures are ['awq'], expected ['awq'], each with its end"),
        (lambda docs: (docs / "awq.md").unlink(), "there is no page"),
    ],
)
def test_wrong_markers_end_before_anything_is_written(results, write, change, words):
    done, before, after = write(results, change=change)
    assert done.returncode == 1 and words in done.stderr
    assert len(done.stderr.splitlines()) == 1 and before == after


def test_nothing_is_written_while_a_method_is_missing(results, write):
    del results["rows"]["iq4_nl"]
    done, before, after = write(results)
    assert done.returncode == 1 and "no results of: iq4_nl" in done.stderr and before == after


def measure(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True)


def test_methods_that_fail_leave_the_others(program, tmp_path):
    """No program can load this model, so each is told and the results are empty."""
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    options = ["--model", tmp_path / "model.gguf", "--json", tmp_path / "costs.json", "--packhorse", program]
    done = measure("--methods", "mxfp,q4_0", *options)
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == "error: not measured: mxfp8; mxfp4; q4_0"
    assert [line.partition(":")[0] for line in done.stderr.splitlines()[:-1]] == ["1/3 mxfp8", "2/3 mxfp4", "3/3 q4_0"]
    assert json.loads((tmp_path / "costs.json").read_text())["rows"] == {}


def test_arguments(program):
    unknown = measure("--methods", "mxfp4,nf5", "--packhorse", program)
    assert unknown.returncode == 2 and "no method begins with 'nf5'" in unknown.stderr
    some = measure("--methods", "mxfp4", "--write", "--packhorse", program)
    assert some.returncode == 2 and "--write needs all methods" in some.stderr
