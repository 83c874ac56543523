"""Which GPU a container is given, from what the machine's files and the daemon say."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from app.containers.base import Daemon, Gpu, GpuRefused
from app.engine.host import Processor
from app.managed.gpu_choice import NO_GPU, STRIX_HALO_NOTE, Choice, Machine, choose, look

AMD = Machine(rocm=("/dev/kfd", "/dev/dri"), groups=("44", "992"), targets=(110000,))


def daemon(*, nvidia: bool = False, virtual: bool = False) -> Daemon:
    return Daemon(
        "unix:///x", "DOCKER_HOST", "Docker", "28.0", False, virtual, nvidia, "host.docker.internal"
    )


@pytest.mark.parametrize(
    ("wanted", "knows_nvidia", "machine", "gpu", "expected"),
    [
        ("cpu", True, Machine(nvidia=True), Gpu.NONE, Processor.CPU),
        ("nvidia", False, Machine(), Gpu.NVIDIA, Processor.GPU),
        ("nvidia", False, AMD, Gpu.NVIDIA, Processor.GPU),
        ("rocm", True, AMD, Gpu.ROCM, Processor.GPU),
        ("auto", True, Machine(), Gpu.NVIDIA, Processor.GPU),
        ("auto", False, Machine(nvidia=True), Gpu.NVIDIA, Processor.GPU),
        ("auto", False, AMD, Gpu.ROCM, Processor.GPU),
        ("auto", True, AMD, Gpu.NVIDIA, Processor.GPU),
        ("auto", False, Machine(), Gpu.NONE, Processor.CPU),
    ],
)
def test_the_gpu_follows_the_setting_then_the_daemon_then_the_machine(
    wanted: str, knows_nvidia: bool, machine: Machine, gpu: Gpu, expected: Processor
) -> None:
    choice = choose(wanted, daemon(nvidia=knows_nvidia), machine)
    assert (choice.gpu, choice.expected) == (gpu, expected)


def test_an_nvidia_driver_counts_where_containers_run_in_a_virtual_machine_too() -> None:
    """Docker Desktop does not say whether it can hand it in; only trying tells."""
    assert choose("auto", daemon(virtual=True), Machine(nvidia=True)).gpu is Gpu.NVIDIA


def test_the_processor_is_never_chosen_unsaid() -> None:
    assert choose("auto", daemon(), Machine()).notes == (NO_GPU,)
    assert choose("cpu", daemon(), Machine()).notes == ()


def test_an_amd_gpu_that_is_not_there_is_refused_and_not_replaced() -> None:
    with pytest.raises(GpuRefused, match="/dev/kfd is missing"):
        choose("rocm", daemon(), Machine(nvidia=True))


def test_an_amd_gpu_comes_with_its_device_files_and_the_numbers_of_their_groups() -> None:
    assert choose("auto", daemon(), AMD) == Choice(
        Gpu.ROCM, Processor.GPU, devices=("/dev/kfd", "/dev/dri"), groups=("44", "992")
    )


def test_a_strix_halo_is_named_to_rocm_and_its_memory_is_explained() -> None:
    choice = choose("auto", daemon(), Machine(rocm=("/dev/kfd", "/dev/dri"), targets=(110501,)))
    assert choice.environment == {"HSA_OVERRIDE_GFX_VERSION": "11.5.1"}
    assert choice.notes == (STRIX_HALO_NOTE,)


def put(root: Path, path: str, text: str = "") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    "path", ["dev/nvidiactl", "proc/driver/nvidia/version", "usr/lib/wsl/lib/libcuda.so.1"]
)
def test_one_trace_of_an_nvidia_driver_is_enough(tmp_path: Path, path: str) -> None:
    put(tmp_path, path)
    assert look(tmp_path) == Machine(nvidia=True)


@pytest.mark.skipif(sys.platform == "win32", reason="platform: Windows has another trace of the driver")
def test_a_bare_machine_has_no_gpu(tmp_path: Path) -> None:
    assert look(tmp_path) == Machine()


@pytest.mark.skipif(sys.platform == "win32", reason="platform: Windows files belong to no numbered group")
def test_an_amd_gpu_is_read_from_its_device_files_and_from_kfd(tmp_path: Path) -> None:
    for path in ("dev/kfd", "dev/dri/renderD128", "dev/dri/card1"):
        put(tmp_path, path)
    nodes = "sys/class/kfd/kfd/topology/nodes"
    put(tmp_path, f"{nodes}/0/properties", "cpu_cores_count 32\ngfx_target_version 0\n")
    put(tmp_path, f"{nodes}/1/properties", "simd_count 80\ngfx_target_version 110501\n")
    put(tmp_path, f"{nodes}/2/properties", "gfx_target_version nonsense\n\xff\n")
    found = look(tmp_path)
    group = (tmp_path / "dev/kfd").stat().st_gid
    assert found.rocm == ("/dev/kfd", "/dev/dri")
    assert found.groups == ((str(group),) if group else ())
    assert found.targets == (110501,)
    assert not found.nvidia


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0,
    reason="platform: only root may give a file to another group",
)
def test_groups_are_numbers_each_once_and_never_roots(tmp_path: Path) -> None:
    for path, group in (
        ("dev/kfd", 992),
        ("dev/dri/renderD128", 992),
        ("dev/dri/card0", 44),
        ("dev/dri/card1", 0),
    ):
        os.chown(put(tmp_path, path), 0, group)
    assert look(tmp_path).groups == ("44", "992")
