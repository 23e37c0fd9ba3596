"""Models by repo id, downloaded from a hub on loopback through the command line and through LLM."""

import json
import os
import resource
import signal
import subprocess
import time

import pytest

import checkpoint_files
from conftest import SHARED
from hub_server import CERTIFICATE, COMMIT, Hub, Proxy, send
from packhorse import LLM, ModelError, SamplingParams

REPO = "org/name"
VARIABLES = (
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip


@pytest.fixture
def hub():
    server = Hub()
    yield server
    server.close()


@pytest.fixture
def tls_hub():
    server = Hub(tls=True)
    yield server
    server.close()


@pytest.fixture
def proxy():
    server = Proxy()
    yield server
    server.close()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty hub cache, and no settings of the machine."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "hf"


@pytest.fixture
def inspect(run_program, hub, home):
    def run(name=REPO, *arguments, **env):
        return run_program("inspect", name, *arguments, env={"HF_ENDPOINT": hub.url, **env})

    return run


def repo_folder(home, repo=REPO):
    return home / "hub" / ("models--" + repo.replace("/", "--"))


def snapshot(home, repo=REPO):
    return repo_folder(home, repo) / "snapshots" / COMMIT


def assert_error(result, status, *words):
    assert result.returncode == status, result.stderr
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("error: "), result.stderr
    for word in words:
        assert word in result.stderr


def assert_loads(result):
    assert result.returncode == 0, result.stderr


def test_download_then_offline(inspect, hub, home, nf4_directory):
    files = hub.add(REPO, nf4_directory)
    hub.repos[REPO]["pytorch_model.bin"] = b"pickle"
    assert_loads(inspect())
    for name in files:
        if (snapshot(home) / name).exists():
            assert (snapshot(home) / name).read_bytes() == files[name]
    link = os.readlink(snapshot(home) / "model.safetensors")
    assert link == "../../blobs/" + hub.sha256(files["model.safetensors"])
    assert os.readlink(snapshot(home) / "config.json") == "../../blobs/" + hub.blob_id(files["config.json"])
    assert not (snapshot(home) / "pytorch_model.bin").exists()
    assert (repo_folder(home) / "refs/main").read_text() == COMMIT
    n_asked = len(hub.asked)
    assert_loads(inspect())
    assert_loads(inspect(HF_HUB_OFFLINE="1"))
    assert_loads(inspect(HF_ENDPOINT="http://127.0.0.1:1"))
    assert len(hub.asked) == n_asked


def test_same_tokens_as_the_folder(hub, home, nf4_directory, monkeypatch):
    hub.add(REPO, nf4_directory)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    params = SamplingParams(temperature=1.0, seed=3, max_tokens=16, ignore_eos=True)

    def tokens(model, **arguments):
        llm = LLM(model, use_tqdm_on_load=False, **arguments)
        return llm.generate("Hello", params, use_tqdm=False)[0].outputs[0].token_ids

    assert tokens(REPO, hf_token="hf_secret") == tokens(str(nf4_directory))
    for server, _, _, headers in hub.asked:
        assert headers.get("Authorization") == ("Bearer hf_secret" if server == "hub" else None)
    assert {server for server, *_ in hub.asked} == {"hub", "storage"}


def test_progress_of_a_download(hub, home, nf4_directory, monkeypatch):
    files = hub.add(REPO, nf4_directory)
    large = files["model.safetensors"]

    def slowly(handler):
        send_all = memoryview(large)
        hub.send_part(handler, large, 1000)
        time.sleep(0.5)
        handler.wfile.write(send_all[1000:])

    hub.faults["/" + hub.sha256(large)] = slowly
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    bars = []

    class Recorder:
        def __init__(self, **settings):
            self.settings, self.n = settings, 0
            bars.append(self)

        def update(self, n):
            self.n += n

        def close(self):
            pass

    LLM(REPO, use_tqdm_on_load=Recorder)
    weights = [bar for bar in bars if bar.settings["total"] == len(large)]
    assert weights and weights[0].settings["desc"] == f"Downloading {REPO}" and weights[0].n == len(large)
    assert bars[-1].settings["desc"] == "Loading safetensors checkpoint shards"


@pytest.mark.parametrize("where", ["flag", "HF_TOKEN", "file", "path"])
def test_places_of_the_token(inspect, hub, home, tmp_path, nf4_directory, where):
    hub.add(REPO, nf4_directory)
    arguments, env = [], {}
    home.mkdir()
    if where == "flag":
        arguments = ["--hf-token", "hf_x"]
    elif where == "HF_TOKEN":
        env = {"HF_TOKEN": " hf_x\n"}
    elif where == "file":
        (home / "token").write_text("hf_x\n")
    else:
        (tmp_path / "token").write_text("hf_x")
        env = {"HF_TOKEN_PATH": str(tmp_path / "token")}
    assert_loads(inspect(REPO, *arguments, **env))
    assert {headers.get("Authorization") for server, _, _, headers in hub.asked if server == "hub"} == {"Bearer hf_x"}


def test_revision_and_download_dir(inspect, hub, home, tmp_path, nf4_directory):
    hub.add(REPO, nf4_directory)
    assert_loads(inspect(REPO, "--revision", "refs/pr/1", "--download-dir", tmp_path / "cache"))
    assert hub.asked[0][2] == f"/api/models/{REPO}/revision/refs%2Fpr%2F1?blobs=true"
    assert (tmp_path / "cache/models--org--name/refs/refs/pr/1").read_text() == COMMIT
    assert not home.exists()


def test_gguf_by_tag_and_file(inspect, hub, home, bf16_gguf):
    content = bf16_gguf.read_bytes()
    hub.repos[REPO] = {"m-BF16.gguf": content, "m-Q8_0.gguf": b"no model", "sub/m.gguf": content, "config.json": b"{}"}
    assert_loads(inspect(f"{REPO}:bf16"))
    assert sorted(file.name for file in snapshot(home).iterdir()) == ["m-BF16.gguf"]
    assert_loads(inspect(f"{REPO}/sub/m.gguf"))
    assert len(hub.requests("GET", hub.sha256(content))) == 1  # the same content is not brought twice
    assert_error(inspect(), 3, "m-BF16.gguf, m-Q8_0.gguf, sub/m.gguf")
    assert_error(inspect(f"{REPO}:Q4_K_M"), 3, f"{REPO}:Q4_K_M", "m-BF16.gguf")


@pytest.mark.parametrize(
    "status, headers, exit_status, words",
    [
        (401, {"X_Error_Code": "RepoNotFound"}, 3, ["401", "HF_TOKEN"]),
        (403, {"X_Error_Code": "GatedRepo"}, 3, ["403", "HF_TOKEN", "ask for it"]),
        (404, {"X_Error_Code": "RepoNotFound"}, 3, ["404", "HF_ENDPOINT", "no such path"]),
        (429, {"Retry_After": "0"}, 5, ["429"]),
        (500, {"Retry_After": "0"}, 5, ["500"]),
    ],
)
def test_fault_125_statuses(inspect, hub, status, headers, exit_status, words):
    hub.faults[f"/api/models/{REPO}/revision/main?blobs=true"] = lambda handler: send(handler, status, **headers)
    assert_error(inspect(), exit_status, REPO, hub.url, *words)


def test_fault_125_unreachable_and_offline(inspect, hub, home):
    assert_error(inspect(HF_ENDPOINT="http://127.0.0.1:1"), 5, REPO, "http://127.0.0.1:1", "HF_ENDPOINT", "path")
    assert_error(inspect(HF_HUB_OFFLINE="1"), 3, REPO, "HF_HUB_OFFLINE", "models--org--name")
    assert_error(inspect("none"), 3, "none", "OWNER/NAME")
    assert_error(inspect(HF_ENDPOINT="nonsense"), 2, "HF_ENDPOINT", "nonsense")
    assert hub.asked == []


def test_fault_125_python(hub, home, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    with pytest.raises(ModelError, match="404"):
        LLM(REPO)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(OSError, match="cannot connect"):
        LLM(REPO)


def cut_first_answer(hub, content, n_bytes):
    """The storage hangs up after `n_bytes`, once."""
    path = "/" + hub.sha256(content)

    def fault(handler):
        del hub.faults[path]
        hub.send_part(handler, content, n_bytes)
        hub.cut(handler)

    hub.faults[path] = fault


def test_fault_126_cut(inspect, hub, nf4_directory):
    large = hub.add(REPO, nf4_directory)["model.safetensors"]
    cut_first_answer(hub, large, len(large) // 2)
    assert_loads(inspect())
    ranges = [headers.get("Range") for headers in hub.requests("GET", hub.sha256(large))]
    assert ranges == [None, f"bytes={len(large) // 2}-"]


def start(program, hub, *arguments, **settings):
    env = {**os.environ, "HF_ENDPOINT": hub.url}
    return subprocess.Popen([program, *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings)


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_fault_126_killed(program, inspect, hub, home, nf4_directory, by):
    """What a process that was killed leaves behind is never taken for a model, and the next one goes on from there."""
    large = hub.add(REPO, nf4_directory)["model.safetensors"]
    path = "/" + hub.sha256(large)
    hub.faults[path] = lambda handler: (hub.send_part(handler, large, len(large) // 2), time.sleep(60))
    process = start(program, hub, "inspect", REPO)
    partial = repo_folder(home) / "blobs" / (hub.sha256(large) + ".incomplete")
    wait_until(lambda: partial.is_file() and partial.stat().st_size == len(large) // 2)
    process.send_signal(by)
    assert process.wait(20) in (130, -signal.SIGKILL)
    process.communicate()
    assert not snapshot(home).exists() and not partial.with_suffix("").exists()
    assert_error(inspect(HF_HUB_OFFLINE="1"), 3, "not in the hub cache")
    del hub.faults[path]
    assert_loads(inspect())
    assert hub.requests("GET", hub.sha256(large))[-1]["Range"] == f"bytes={len(large) // 2}-"
    assert not partial.exists()


def test_fault_126_wrong_content(inspect, hub, home, nf4_directory):
    large = hub.add(REPO, nf4_directory)["model.safetensors"]
    path = "/" + hub.sha256(large)
    for content, what in ((large[:-1] + b"?", "checksum"), (large + b"?", "longer"), (large[:-1], "shorter")):
        hub.faults[path] = lambda handler, content=content: send(handler, 200, content)
        result = inspect()
        assert result.returncode == 5 and what in result.stderr.splitlines()[-1], result.stderr
        assert hub.sha256(large) in result.stderr
        assert not snapshot(home).exists()
        assert not [blob for blob in (repo_folder(home) / "blobs").iterdir() if blob.name.startswith(hub.sha256(large))]
    del hub.faults[path]
    assert_loads(inspect())


def test_fault_126_two_at_once(program, hub, home, nf4_directory):
    large = hub.add(REPO, nf4_directory)["model.safetensors"]

    def slowly(handler):
        time.sleep(1)
        hub.send_range(handler, large)

    hub.faults["/" + hub.sha256(large)] = slowly
    processes = [start(program, hub, "inspect", REPO) for _ in range(2)]
    results = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert len(hub.requests("GET", hub.sha256(large))) == 1


def test_fault_126_disk_full(program, inspect, hub, home, nf4_directory):
    large = hub.add(REPO, nf4_directory)["model.safetensors"]
    limit = len(large) // 2
    process = start(
        program, hub, "inspect", REPO, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )
    _, error = process.communicate(timeout=120)
    assert process.returncode == 5, (process.returncode, error)
    assert f"needs {len(large) - limit} bytes more" in error.splitlines()[-1]
    assert not snapshot(home).exists()
    assert_loads(inspect())


def test_tls(tls_hub, run_program, home, nf4_directory):
    tls_hub.add(REPO, nf4_directory)
    env = {"HF_ENDPOINT": tls_hub.url}
    assert_error(run_program("inspect", REPO, env=env), 5, "certificate", "SSL_CERT_FILE")
    env["SSL_CERT_FILE"] = str(CERTIFICATE)
    other_name = tls_hub.url.replace("localhost", "127.0.0.1")
    assert_error(run_program("inspect", REPO, env={**env, "HF_ENDPOINT": other_name}), 5, "start TLS")
    assert tls_hub.asked == []
    assert_loads(run_program("inspect", REPO, env=env))


def test_proxy(tls_hub, proxy, run_program, home, nf4_directory, tmp_path):
    tls_hub.add(REPO, nf4_directory)
    env = {"HF_ENDPOINT": tls_hub.url, "SSL_CERT_FILE": str(CERTIFICATE), "HTTPS_PROXY": f"http://user:pw@{proxy.address}"}
    assert_loads(run_program("inspect", REPO, env=env))
    ports = {tls_hub.hub.server_port, tls_hub.storage.server_port}
    assert {target for target, _ in proxy.asked} == {f"localhost:{port}" for port in ports}
    assert {credentials for _, credentials in proxy.asked} == {"Basic dXNlcjpwdw=="}
    proxy.asked.clear()
    env |= {"NO_PROXY": "localhost", "HF_HOME": str(tmp_path / "other")}
    assert_loads(run_program("inspect", REPO, env=env))
    assert proxy.asked == []
    env |= {"NO_PROXY": "", "HF_HOME": str(tmp_path / "third"), "HTTPS_PROXY": "http://127.0.0.1:1"}
    assert_error(run_program("inspect", REPO, env=env), 5, "127.0.0.1:1")


GENERATE = """
import json, runpy, sys
llm = runpy.run_path(sys.argv[1])["llm"]
from vllm import SamplingParams
outputs = llm.generate(["Hello"], SamplingParams(temperature=1.0, seed=3, max_tokens=16, ignore_eos=True), use_tqdm=False)
print(json.dumps(list(outputs[0].outputs[0].token_ids)))
"""


@pytest.mark.parametrize(
    "name, repo", [("bnb_prequantized.py", "unsloth/tinyllama-bnb-4bit"), ("bnb_inflight.py", "huggyllama/llama-7b")]
)
def test_example_programs(run_python, hub, home, tmp_path, nf4_directory, bf16_gguf, name, repo):
    """Programs written for vLLM, with nothing in the cache."""
    program = SHARED / "examples" / name
    if not program.is_file():
        pytest.skip("the example programs are not there")
    directory = nf4_directory
    if name == "bnb_inflight.py":
        directory = tmp_path / "float"
        checkpoint_files.write_float_directory(directory, nf4_directory, checkpoint_files.llama_weights(bf16_gguf), "bfloat16")
    hub.add(repo, directory)
    result = run_python(GENERATE, program.resolve(), module="packhorse.as_vllm", env={"HF_ENDPOINT": hub.url})
    assert result.returncode == 0, result.stderr
    assert len(json.loads(result.stdout)) == 16
    assert (snapshot(home, repo) / "model.safetensors").is_file()
