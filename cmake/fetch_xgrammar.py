"""Puts the sources of xgrammar, of the version that pyproject.toml names, into .deps/ unless they are there, and prints their
folder. pip gets the archive; it is used only if it is the one of this checksum."""

import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

SHA256 = "8305646fd2b319d6c3003f51a1665e54cbbe9cba1fb636bc41d0b46434ccbb80"
KEPT = ("LICENSE", "NOTICE", "cpp/", "include/", "3rdparty/picojson/picojson.h", "3rdparty/dlpack/LICENSE", "3rdparty/dlpack/include/")
ROOT = Path(__file__).resolve().parent.parent


def fetch(version, folder):
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as part:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary",
             "xgrammar", "--dest", part, f"xgrammar=={version}"],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
        archive = Path(part, f"{folder.name}.tar.gz")
        got = hashlib.sha256(archive.read_bytes()).hexdigest()
        if got != SHA256:
            raise SystemExit(f"error: {archive.name}: SHA-256 is {got}, not {SHA256}")
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                if member.isfile() and member.name.removeprefix(f"{folder.name}/").startswith(KEPT):
                    path = Path(part, member.name)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(tar.extractfile(member).read())
        if not folder.exists():  # two may do this at once
            Path(part, folder.name).rename(folder)


version = re.search(r'"xgrammar==([\d.]+)"', (ROOT / "pyproject.toml").read_text())[1]
folder = ROOT / f".deps/xgrammar-{version}"
if not folder.exists():
    print(f"fetching the sources of {folder.name}", file=sys.stderr)
    fetch(version, folder)
print(folder)
