"""The documentation against the program: links lead somewhere, commands and names exist, every format has a page."""

import ast
import inspect
import json
import re
import shlex
import subprocess

import pytest

from conftest import ROOT
from packhorse import LLM, EngineArgs, SamplingParams
from server import Server

FORMATS = ROOT / "docs/formats"
# What a call may be given; LLM takes every field of EngineArgs as well.
PARAMETERS = {
    "LLM": {*inspect.signature(LLM).parameters, *inspect.signature(EngineArgs).parameters},
    "SamplingParams": {*inspect.signature(SamplingParams).parameters},
}
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
# The titles of vLLM's chapter on quantization, in its order.
TITLES = """AutoAWQ, AutoRound, BitsAndBytes, BitBLAS, GGUF, GPTQModel, INC, INT4 W4A16, INT8 W8A8, FP8 W8A8,
    NVIDIA Model Optimizer, AMD Quark, Quantized KV Cache, TorchAO"""
TITLES = [title.strip() for title in TITLES.split(",")]
names = {path: str(path.relative_to(ROOT)) for path in PAGES}


def each_page(test):
    return pytest.mark.parametrize("page", PAGES, ids=names.values())(test)


def without_code(text):
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def code_blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def links(page):
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", without_code(page.read_text())))


def anchors(page):
    """What the hosts of Markdown make of its headings."""
    headings = re.findall(r"^#+ +(.*)$", without_code(page.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_relative_links_lead_somewhere(page):
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            assert link.startswith("https://"), link
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_has_every_title_and_page():
    index = FORMATS / "README.md"
    rows = re.findall(r"^\| ([^|]+) \| \[[^\]]+\]\(([^)]+)\) \|$", index.read_text(), flags=re.MULTILINE)
    assert [title for title, _ in rows[: len(TITLES)]] == TITLES
    linked = {link.partition("#")[0] for link in links(index)}
    assert {path.name for path in FORMATS.glob("*.md")} - {index.name} <= linked


def test_the_list_of_pages_is_whole():
    index = ROOT / "docs/README.md"
    listed = [link for link in links(index) if not link.startswith("http")]
    folders = {f"{path.parent.name}/{path.name}" for path in index.parent.glob("*/README.md")}
    assert sorted(listed) == sorted({path.name for path in index.parent.glob("*.md")} - {index.name} | folders)


@pytest.mark.parametrize("page", sorted(FORMATS.glob("[!R]*.md")), ids=lambda page: page.stem)
def test_a_page_says_what_a_reader_looks_for(page):
    text = page.read_text()
    assert code_blocks(page, "python") and code_blocks(page, "console")
    assert any("packhorse serve" in block for block in code_blocks(page, "console"))
    assert "installing" in text and "calibration data" in " ".join(text.split())
    assert "## Limits" in text
    if page.stem != "deepspeedfp":  # there are no checkpoints of it to be found
        assert "https://huggingface.co/models?" in text
    figures = re.findall(r"^<!-- figures:(\w+) -->$\n(.*?)^<!-- /figures -->$", text, flags=re.DOTALL | re.MULTILINE)
    assert [name for name, _ in figures] == [page.stem]


@pytest.fixture(scope="module")
def methods(program):
    listing = subprocess.run([program, "inspect", "--formats", "--json"], capture_output=True, text=True, check=True)
    return json.loads(listing.stdout)["methods"]


def method_of(methods, name):
    return next((method for method in methods if name in [method["name"], *method["aliases"]]), None)


def assert_settings(methods, name, config):
    method = method_of(methods, name)
    assert method, f"no method {name}"
    if config is None:
        return
    assert method["in_flight"], f"{name} has no settings: it is not made in flight"
    if method["settings"]:
        assert set(config) <= set(method["settings"]), (name, config)


def command_lines(page):
    for block in code_blocks(page, "console"):
        for line in block.splitlines():
            words = shlex.split(line, comments=True) if line.startswith("$ ") else []
            if len(words) > 1 and words[1] in ("packhorse", "build/packhorse"):
                yield words[2:]


@each_page
def test_command_lines_are_the_programs(run_program, methods, page):
    commands = set(re.findall(r"^  ([a-z]+) ", run_program("--help").stdout, flags=re.MULTILINE))
    assert "inspect" in commands
    for words in command_lines(page):
        command, *arguments = words
        assert command in commands, words
        text = run_program(command, "--help").stdout
        known = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", text)) | {"-pg", "-tp"}
        flags = {word.partition("=")[0].partition(".")[0] for word in arguments if re.match(r"--?[a-zA-Z]", word)}
        assert flags <= known, (words, flags - known)
        value_of = dict(zip(arguments, arguments[1:]))
        name = value_of.get("-q") or value_of.get("--quantization")
        config = value_of.get("--quantization-config")
        assert not config or name, words
        if name:
            assert_settings(methods, name, json.loads(config) if config else None)


@each_page
def test_python_calls_are_the_packages(methods, page):
    for block in code_blocks(page, "python"):
        for call in (node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)):
            parameters = PARAMETERS.get(getattr(call.func, "id", None))
            if not parameters:
                continue
            given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
            assert set(given) <= parameters, ast.unparse(call)
            if "quantization" in given:
                config = given.get("quantization_config")
                name = ast.literal_eval(given["quantization"])
                assert_settings(methods, name, ast.literal_eval(config) if config else None)


@pytest.fixture(scope="module")
def demo():
    with Server("demo") as server:
        yield server


CURL = [(page, block) for page in PAGES for block in code_blocks(page, "sh") if block.startswith("curl ")]


@pytest.mark.parametrize("page, block", CURL, ids=[f"{names[page]}-{i}" for i, (page, _) in enumerate(CURL)])
def test_requests_are_answered(demo, page, block):
    command, n = re.subn(r"http://(127\.0\.0\.1|localhost):8000", demo.url, block)
    assert n, block
    answer = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=300)
    assert "error" not in json.loads(answer.stdout) or json.loads(answer.stdout)["error"] is None, answer.stdout


CLIENTS = [block for page in PAGES for block in code_blocks(page, "python") if "http://127.0.0.1:8000" in block]


@pytest.mark.parametrize("block", CLIENTS)
def test_clients_of_the_server_run(demo, block, capsys):
    exec(block.replace("http://127.0.0.1:8000", demo.url), {})
    assert capsys.readouterr().out.strip()


def test_every_method_in_flight_is_described(methods):
    text = (FORMATS / "in_flight.md").read_text()
    table = text[text.index("## Methods") : text.index("## Settings")]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    described = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    assert len(described) == len(set(described))
    for name in described:
        method = method_of(methods, name)
        assert method and method["in_flight"], name
    for method in methods:
        if method["in_flight"]:
            assert method["name"] in text, method["name"]
