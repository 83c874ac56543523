"""Which GPU the container is given.

Rule 1: pure but for `look`, which reads a few small files. Rule 2: the processor is chosen only where no GPU is found
or none is wanted, and the choice says why; a GPU that was found and is refused is a failure, never a quiet CPU.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.containers.base import Daemon, Gpu, GpuRefused
from app.engine.host import Processor

_STRIX_HALO = 110501
"""gfx1151, as KFD writes it: major · 10000 + minor · 100 + stepping."""

NO_GPU = (
    "No GPU was found that a container could use, so the processor answers, which is slow. Install the GPU's driver, "
    "or set «Processor» to cpu if this is meant."
)
STRIX_HALO_NOTE = (
    "This GPU shares the main memory: up to Linux 6.16.8 ROCm sees only half of it, at most 16 GB "
    "(ROCm issue 5444). Use a newer kernel, and let the firmware reserve the memory that the models need."
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine has, as far as its files tell."""

    nvidia: bool = False
    """An NVIDIA driver is loaded."""
    rocm: tuple[str, ...] = ()
    """Device files of an AMD GPU that can compute, as a container needs them; empty: there is none."""
    groups: tuple[str, ...] = ()
    """Numbers of the groups that own those files. Names differ between distributions and the image knows none."""
    targets: tuple[int, ...] = ()
    """`gfx_target_version` of every AMD GPU."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the container gets."""

    gpu: Gpu
    expected: Processor
    """GPU or CPU: what it must be found to compute with."""
    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """Sentences for the person; empty where there is nothing to say."""


def look(root: Path = Path("/")) -> Machine:
    """Read from below `root` which GPUs there are. Takes well under a millisecond and never raises."""
    nvidia = [
        root / "dev/nvidiactl",
        # The device file appears with the first use; the driver's own folder with the driver.
        root / "proc/driver/nvidia/version",
        root / "usr/lib/wsl/lib/libcuda.so.1",
    ]
    if sys.platform == "win32":
        nvidia.append(Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvcuda.dll")
    kfd, dri = root / "dev/kfd", root / "dev/dri"
    if not kfd.exists():
        return Machine(nvidia=any(path.exists() for path in nvidia))
    owned = [kfd, *(sorted(dri.glob("card*")) + sorted(dri.glob("renderD*")))]
    groups: set[int] = set()
    for path in owned:
        try:
            groups.add(path.stat().st_gid)
        except OSError:
            continue
    return Machine(
        nvidia=any(path.exists() for path in nvidia),
        rocm=("/dev/kfd", "/dev/dri"),
        # Root's group opens nothing that root's own process could not open.
        groups=tuple(str(number) for number in sorted(groups) if number),
        targets=_targets(root / "sys/class/kfd/kfd/topology/nodes"),
    )


def _targets(nodes: Path) -> tuple[int, ...]:
    found: list[int] = []
    for path in sorted(nodes.glob("*/properties")):
        try:
            lines = path.read_text("ascii", "replace").splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(" ")
            if name == "gfx_target_version" and value.isdigit() and int(value):
                found.append(int(value))
    return tuple(found)


def choose(wanted: str, daemon: Daemon, machine: Machine) -> Choice:
    """`wanted` is the setting: auto, nvidia, rocm or cpu.

    Raises GpuRefused where an AMD GPU is wanted and none is here.
    """
    if wanted == "cpu":
        return Choice(Gpu.NONE, Processor.CPU)
    if wanted == "nvidia" or (wanted == "auto" and (daemon.nvidia or machine.nvidia)):
        return Choice(Gpu.NVIDIA, Processor.GPU)
    if machine.rocm:
        return _rocm(machine)
    if wanted == "rocm":
        raise GpuRefused(
            "No AMD GPU with ROCm was found: /dev/kfd is missing. Install AMD's driver, or choose another processor."
        )
    return Choice(Gpu.NONE, Processor.CPU, notes=(NO_GPU,))


def _rocm(machine: Machine) -> Choice:
    environment: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    if _STRIX_HALO in machine.targets:
        # Its own version, said aloud: builds of ROCm that do not list gfx1151 refuse it otherwise (ollama#14855).
        environment["HSA_OVERRIDE_GFX_VERSION"] = "11.5.1"
        notes = (STRIX_HALO_NOTE,)
    return Choice(
        Gpu.ROCM,
        Processor.GPU,
        devices=machine.rocm,
        groups=machine.groups,
        environment=environment,
        notes=notes,
    )
