"""Builds llama.cpp from the PyPI source archive of llama-cpp-python, for the instructions that Packhorse's kernels of one
name may use, into build-peers/ISA. AMX is left out: no kernel of Packhorse uses it."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / "build-peers"
PROGRAMS = ("llama-bench", "llama-quantize", "llama-perplexity", "llama-completion", "llama-tokenize")
SERVER = ("llama-server",)
# Instruction sets, each with all of the earlier: flags of /proc/cpuinfo that it needs, and llama.cpp's options that it
# turns on, those in the second list only where the CPU has the flag.
LEVELS = {
    "avx2": (("avx2", "fma", "f16c", "bmi2"), ("SSE42", "AVX", "AVX2", "FMA", "F16C", "BMI2"), {}),
    "avx512": (("avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"), ("AVX512",), {}),
    "avx512_vnni": (("avx512_vnni",), ("AVX512_VNNI",), {"AVX_VNNI": "avx_vnni", "AVX512_VBMI": "avx512vbmi"}),
    "avx512_bf16": (("avx512_bf16",), ("AVX512_BF16",), {}),
}


def run_quietly(command):
    """The standard output; the last words of a program that fails become the error."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise SystemExit(f"error: {' '.join(map(str, command))} exited with {done.returncode}: {last}")
    return done.stdout


def cpu_field(name):
    """Of the first core; empty where there is none."""
    fields = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
    return next((value.strip() for key, _, value in fields if key.strip() == name), "")


def cpu_flags():
    return set(cpu_field("flags").split())


def processor():
    return f"{cpu_field('model name') or 'unknown processor'} (family {cpu_field('cpu family') or 'unknown'})"


def supported():
    """Names of the instruction sets of this CPU, the best last."""
    names = []
    for name, (needed, _, _) in LEVELS.items():
        if not cpu_flags().issuperset(needed):
            break
        names.append(name)
    return names


def cmake_flags(isa):
    """Every option is named, ON or OFF, so that none depends on the machine or on llama.cpp's defaults."""
    flags = {"NATIVE": False}
    wanted = list(LEVELS)[:list(LEVELS).index(isa) + 1]
    for name, (_, options, optional) in LEVELS.items():
        flags |= {option: name in wanted for option in options}
        flags |= {option: name in wanted and flag in cpu_flags() for option, flag in optional.items()}
    return [f"-DGGML_{option}={'ON' if on else 'OFF'}" for option, on in flags.items()]


def archive_version():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    return groups["peers"][0].removeprefix("llama-cpp-python==")


def source_folder():
    version = archive_version()
    folder = PEERS / "src" / f"llama_cpp_python-{version}"
    archive = folder.with_name(folder.name + ".tar.gz")
    if not archive.is_file():
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-python",
                        "--dest", archive.parent, f"llama-cpp-python=={version}"], check=True)
    source = folder / "vendor/llama.cpp"
    if not (source / "CMakeLists.txt").is_file():
        with tarfile.open(archive) as tar:
            tar.extractall(archive.parent, filter="data")
    return source


def describe(isa):
    compiler = subprocess.run([os.environ.get("CXX", "c++"), "--version"], capture_output=True, text=True, check=True)
    return (f"llama.cpp of llama-cpp-python {archive_version()}, {compiler.stdout.splitlines()[0]}, Release: "
            + " ".join(cmake_flags(isa)))


def build(isa, jobs, programs=PROGRAMS):
    """(folder of the programs, what they are); does nothing when they are there for these flags and this compiler."""
    text, folder = describe(isa), PEERS / isa
    stamp = folder / "built"
    if not stamp.is_file() or stamp.read_text().strip() != text:
        shutil.rmtree(folder / "bin", ignore_errors=True)
    elif all((folder / "bin" / program).is_file() for program in programs):
        return folder / "bin", text
    print(f"building {text}", file=sys.stderr)
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    parts = [f"-DLLAMA_BUILD_{part}=OFF" for part in ("TESTS", "EXAMPLES", "APP", "UI")]
    subprocess.run(["cmake", "-S", source_folder(), "-B", folder / "cmake", *generator, *cmake_flags(isa), *parts,
                    "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_OPENSSL=OFF",
                    "-DLLAMA_USE_PREBUILT_UI=OFF", "--log-level=WARNING"], check=True, stdout=sys.stderr)
    subprocess.run(["cmake", "--build", folder / "cmake", "--parallel", str(jobs), "--target", *programs], check=True,
                   stdout=sys.stderr)
    (folder / "bin").mkdir(exist_ok=True)
    for program in programs:
        shutil.copy2(folder / "cmake/bin" / program, folder / "bin" / program)
    stamp.write_text(text + "\n")
    return folder / "bin", text
