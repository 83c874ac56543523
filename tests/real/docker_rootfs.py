"""A root file system for images, made of this very Python: interpreter, standard library, aiohttp and our simulator.

No image can be pulled where there is no internet, and a made-up base would be one more thing to trust. What the
programs inside need is asked of Python (the modules that are really imported) and of the linker (`ldd`).
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "/python/bin/python3"
_LEFT_OUT = re.compile(
    r"/(test|tests|idlelib|tkinter|turtledemo|ensurepip|lib2to3|pydoc_data|site-packages|dist-packages|__pycache__"
    r"|config-[^/]*)(/|$)|/_tkinter\.|/_curses|/readline\.|/_(test|xx)|/(_dbm|_gdbm|nis)\."
)
_IMPORTED = """
import json, sys, app.simulator.__main__
print(json.dumps([[getattr(m, "__file__", None), getattr(m, "__cached__", None)] for m in sys.modules.values()]))
"""


def make_rootfs(tar: Path, scripts: dict[str, str]) -> None:
    """Write the root file system; `scripts` are files for /entry, by name."""
    files: dict[str, Path] = {}
    interpreter = Path(os.path.realpath(sys.executable))
    files[PYTHON] = interpreter
    library = Path(sysconfig.get_path("stdlib"))
    inside = f"/python/lib/{library.name}"
    _add_tree(files, library, inside)

    imported = json.loads(_run([sys.executable, "-c", _IMPORTED]))
    packages = Path(sysconfig.get_path("purelib"))
    for source, cached in imported:
        for place, below in ((packages, f"{inside}/site-packages"), (ROOT, "/code"), (library, inside)):
            if source and Path(source).is_relative_to(place):
                top = Path(source).relative_to(place)
                if place == packages and len(top.parts) > 1:
                    _add_tree(files, packages / top.parts[0], f"{below}/{top.parts[0]}")
                files[f"{below}/{top}"] = Path(source)
                # What is compiled already need not be compiled at every start, wherever it is kept here.
                if cached and Path(cached).exists():
                    files[f"{below}/{top.parent / '__pycache__' / Path(cached).name}"] = Path(cached)
                break

    for library_file in _shared_objects([path for path in files.values() if _is_elf(path)]):
        name = str(library_file) if "ld-linux" in library_file.name else f"/python/so/{library_file.name}"
        files[name] = library_file

    with tarfile.open(tar, "w") as archive:
        for folder, mode in (
            ("tmp", 0o1777),
            ("root", 0o700),
            ("proc", 0o555),
            ("sys", 0o555),
            ("dev", 0o755),
        ):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        for name, source in sorted(files.items()):
            _add_file(
                archive, name, source.read_bytes(), source.stat().st_mtime, source.stat().st_mode & 0o755
            )
        _add_file(archive, "/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
        _add_file(archive, "/etc/group", b"root:x:0:\nvideo:x:44:\nrender:x:105:\n")
        for name, text in scripts.items():
            _add_file(archive, f"/entry/{name}", text.encode())


def _add_file(
    archive: tarfile.TarFile, name: str, content: bytes, mtime: float = 0.0, mode: int = 0o644
) -> None:
    entry = tarfile.TarInfo(name.lstrip("/"))
    entry.size, entry.mtime, entry.mode = len(content), int(mtime), mode | 0o444
    archive.addfile(entry, io.BytesIO(content))


def _add_tree(files: dict[str, Path], folder: Path, inside: str) -> None:
    for path in folder.rglob("*"):
        name = f"/{path.relative_to(folder)}"
        if path.is_file() and not _LEFT_OUT.search(name) and path.suffix not in (".a", ".pyi", ".pyx", ".c"):
            files[f"{inside}{name}"] = path


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _shared_objects(programs: list[Path]) -> set[Path]:
    """What the linker loads for them, itself included, under the names they ask for."""
    found: set[Path] = set()
    for start in range(0, len(programs), 50):
        said = _run(["ldd", *map(str, programs[start : start + 50])])
        found |= {Path(name) for name in re.findall(r"(?:=> |^\s)(/\S+) \(0x", said, re.MULTILINE)}
    return found


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, f"{command[0]} failed: {done.stderr[-2000:]}"
    return done.stdout
