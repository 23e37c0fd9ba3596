"""scripts/format_matrix: what the results of the tests make of README's table."""

import importlib.machinery
import importlib.util
import subprocess
import sys
from xml.sax.saxutils import quoteattr

import pytest

from conftest import ROOT, SHARED
from test_families import CASES

SCRIPT = ROOT / "scripts/format_matrix"


@pytest.fixture(scope="module")
def script():
    loader = importlib.machinery.SourceFileLoader("format_matrix", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("format_matrix", loader))
    sys.modules["format_matrix"] = module
    loader.exec_module(module)
    return module


def passing(script, has_shared=True):
    """The results of a run in which all is well."""
    results = {}
    for row in script.ROWS:
        for name in script.named_tests(row, has_shared):
            results[name] = "passed"
        for suite in row.suites.split():
            results[f"{suite[:-1]}x]" if suite.endswith("*") else f"{suite}.one"] = "passed"
            results[f"{suite[:-1]}y]" if suite.endswith("*") else f"{suite}.two"] = "passed"
    return results


def row_of(script, results, name, has_shared=True):
    for line in script.matrix(results, has_shared).splitlines():
        if line.startswith(f"| [{name}]("):
            return [cell.strip() for cell in line.strip("|").split("|")][1:]
    raise AssertionError(name)


def test_rows_and_columns_are_those_of_vllm(script):
    table = script.matrix(passing(script), True).splitlines()
    columns = "Volta, Turing, Ampere, Ada, Hopper, AMD GPU, Intel GPU, Intel Gaudi, x86 CPU"
    assert [cell.strip() for cell in table[1].strip("|").split("|")][1:] == columns.split(", ")
    rows = ("AWQ, GPTQ, Marlin (GPTQ/AWQ/FP8), INT8 (W8A8), FP8 (W8A8), BitBLAS, BitBLAS (GPTQ), bitsandbytes, DeepSpeedFP, "
            "GGUF, INC (W8A8)").split(", ")  # fmt: skip
    assert [row.name for row in script.ROWS[: len(rows)]] == rows
    assert all((ROOT / "docs/formats" / f"{row.page}.md").is_file() for row in script.ROWS)


@pytest.mark.parametrize("has_shared", [True, False])
def test_all_is_well(script, has_shared):
    results = passing(script, has_shared)
    for row in script.ROWS:
        assert row_of(script, results, row.name, has_shared)[-1] == "run", row.name
    assert row_of(script, results, "GGUF", has_shared)[:8] == ["no", *["not yet"] * 4, "no", "no", "no"]


@pytest.mark.parametrize("result", ["failed", "skipped", None])
@pytest.mark.parametrize("which", ["fixture", "family", "suite", "test"])
def test_one_test_turns_the_cell(script, which, result):
    results = passing(script)
    name = {
        "fixture": "engine:Fixtures/Reference.no_ref_row_serves_it/gptq_4bit_g128",
        "family": "python:tests.python.test_families.test_fast_arithmetic_agrees_with_float32[marlin]",
        "suite": "formats:Marlin.two",
        "test": "formats:Gptq.NamesThatUsersMayGive",
    }[which]
    assert results[name] == "passed"
    if result:
        results[name] = result
    else:
        del results[name]
        results.pop("formats:Marlin.one" if which == "suite" else "", None)  # a suite without any case
    assert row_of(script, results, "Marlin (GPTQ/AWQ/FP8)")[-1] == "no"
    assert row_of(script, results, "HQQ")[-1] == "run"


def test_without_the_shared_fixtures_skips_do_not_count(script):
    results = passing(script, False)
    results["formats:IncFp8.one"] = "skipped"
    assert row_of(script, results, "INC (W8A8)", False)[-1] == "run"
    assert row_of(script, {name: "skipped" for name in results}, "INC (W8A8)", False)[-1] == "no"


def test_every_checkpoint_and_family_has_a_row(script):
    """But those of an architecture that is not there, and of plain weights in folders."""
    folders = {path.name for path in (ROOT / "tests/golden/formats").iterdir()}
    archives = SHARED / "checkpoints/bounds.json"
    if archives.is_file():
        from conftest import CHECKPOINTS

        folders |= {path.name for path in (CHECKPOINTS / "formats").glob("*")}
    used = {name for row in script.ROWS for name in row.fixtures.split()}
    assert folders - used <= {"mxfp4-gpt-oss"}
    families = {case[0] for case in CASES}
    named = {name for row in script.ROWS for name in row.families.split()}
    assert families - named <= {"bf16", "f16", "f32"} and named <= families


def write_report(build, results):
    folder = build / "test-results"
    folder.mkdir(parents=True)
    cases = {}
    for test, result in results.items():
        report, name = test.split(":", 1)
        path, bracket, parameter = name.partition("[")
        classname, case = path.rsplit(".", 1)
        inside = {"passed": "", "failed": "<failure/>", "skipped": "<skipped/>"}[result]
        line = f"<testcase classname={quoteattr(classname)} name={quoteattr(case + bracket + parameter)}>{inside}</testcase>"
        cases.setdefault(report, []).append(line)
    for report, lines in cases.items():
        (folder / f"{report}.xml").write_text(f"<testsuites><testsuite>{''.join(lines)}</testsuite></testsuites>")


def run_script(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True)


def test_readme_is_written_and_compared(script, tmp_path):
    shared = (SHARED / "checkpoints").is_dir()
    results = passing(script, shared)
    write_report(tmp_path / "good", results)
    write_report(tmp_path / "bad", {**results, f"{script.FAMILY}[hqq-4bit]": "failed"})
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{script.BEGIN}\n{script.END}\nafter\n")
    stale = run_script("--check", "--readme", readme, tmp_path / "good")
    assert stale.returncode == 1 and "+| [HQQ](docs/formats/hqq.md) | no |" in stale.stdout
    assert readme.read_text().count("HQQ") == 0, "--check writes nothing"
    assert run_script("--readme", readme, tmp_path / "good").returncode == 0
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "[HQQ]" in text
    assert run_script("--check", "--readme", readme, tmp_path / "good").returncode == 0
    failed = run_script("--check", "--readme", readme, tmp_path / "bad")
    assert failed.returncode == 1 and "hqq-4bit] failed" in failed.stdout and "-| [HQQ]" in failed.stdout
