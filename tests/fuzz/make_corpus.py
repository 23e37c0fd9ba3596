"""Writes the seeds of corpus/<target>/: small good inputs and, for the rows of the fault catalogue (the number in front of
a name), the same inputs with one fault. What a fuzzer found and must not break again stands beside them as found_*."""

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))  # for checkpoint_files


def main():
    for source in sorted(HERE.glob("*_fuzz.cpp")):
        target = source.stem.removesuffix("_fuzz")
        folder = HERE / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            if not old.name.startswith("found_"):
                old.unlink()
        seen = set()
        for name, data in importlib.import_module(f"seeds.{target}").seeds():
            if data not in seen:
                seen.add(data)
                (folder / name).write_bytes(data)
        files = list(folder.iterdir())
        print(f"{target}: {len(files)} files, {sum(file.stat().st_size for file in files)} bytes")


main()
