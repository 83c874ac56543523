"""What the daemon is told, and what we make of what it says."""

from __future__ import annotations

from dataclasses import replace

from app.containers.base import ContainerSpec, Daemon, Gpu
from app.containers.making import container_config, container_from, gpu_ignored, host_config, image_from

DOCKER = Daemon("unix:///d", "a test", "Docker", "28", False, False, True, "host.docker.internal")
PODMAN = replace(DOCKER, name="Podman")
BARE = ContainerSpec(name="engine", image="ollama/ollama")


def test_a_bare_spec_is_harmless_too() -> None:
    for daemon in (DOCKER, PODMAN):
        told = host_config(BARE, daemon)
        assert told["cap_drop"] == ["ALL"]
        assert told["security_opt"] == ["no-new-privileges"]
        assert told["restart_policy"] == {"Name": "no"}
        assert told["privileged"] is False
        assert "port_bindings" not in told


def test_a_port_is_never_published_but_on_this_computer() -> None:
    told = host_config(replace(BARE, ports={11434: 18434, 80: 8080}), DOCKER)
    assert {host for host, _ in told["port_bindings"].values()} == {"127.0.0.1"}


def test_an_nvidia_gpu_is_asked_for_whole_and_only_when_wanted() -> None:
    assert "device_requests" not in host_config(BARE, DOCKER)
    (request,) = host_config(replace(BARE, gpu=Gpu.NVIDIA), DOCKER)["device_requests"]
    assert request["Count"] == -1
    assert request["Capabilities"] == [["gpu"]]


def test_a_request_for_a_gpu_that_the_daemon_dropped_is_noticed() -> None:
    wanted = replace(BARE, gpu=Gpu.NVIDIA)
    assert gpu_ignored(wanted, {"HostConfig": {"DeviceRequests": None, "Devices": []}})
    assert not gpu_ignored(wanted, {"HostConfig": {"DeviceRequests": [{"Count": -1}]}})
    assert not gpu_ignored(BARE, {"HostConfig": {}})


def test_podman_is_not_told_what_only_docker_has() -> None:
    assert {"init", "log_config"} <= set(host_config(BARE, DOCKER))
    assert not {"init", "log_config"} & set(host_config(BARE, PODMAN))


def test_a_tmp_that_can_be_written_comes_with_a_root_that_cannot() -> None:
    assert "tmpfs" not in host_config(BARE, DOCKER)
    told = host_config(replace(BARE, read_only=True), DOCKER)
    assert told["read_only"]
    assert "/tmp" in told["tmpfs"]


def test_the_command_of_the_image_stays_where_none_is_given() -> None:
    assert "command" not in container_config(BARE)
    assert container_config(replace(BARE, command=("serve",)))["command"] == ["serve"]


def test_a_description_with_holes_is_read_as_far_as_it_goes() -> None:
    for seen in (
        {},
        {"Config": None, "State": None, "NetworkSettings": None},
        {"NetworkSettings": {"Ports": {"11434/tcp": None, "53/udp": [{"HostPort": "53"}]}}},
        {"HostConfig": {"PortBindings": {"11434/tcp": [{"HostPort": ""}]}}},
    ):
        container = container_from(seen)
        assert container.ports == {}
        assert not container.running
    assert image_from({}).tags == ()


def test_the_published_port_is_read_from_a_running_and_from_a_stopped_container() -> None:
    bindings = {"11434/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18434"}]}
    running = container_from({"Name": "/engine", "NetworkSettings": {"Ports": bindings}})
    stopped = container_from({"NetworkSettings": {"Ports": {}}, "HostConfig": {"PortBindings": bindings}})
    assert running.ports == stopped.ports == {11434: 18434}
    assert running.name == "engine"
