"""What daemons of all ages say, and what we make of it."""

from __future__ import annotations

import pytest

from app.containers.base import (
    ContainerError,
    ContainerGone,
    DaemonFailed,
    DaemonUnreachable,
    DiskFull,
    GpuRefused,
    ImageMissing,
    NameTaken,
    PortTaken,
    PullBroken,
)
from app.containers.errors import DockerCall, refused, translate

START = DockerCall("start the container", container="engine", rocm=True)
CREATE = DockerCall("create the container", container="engine", image="ollama/ollama", rocm=True)
PULL = DockerCall("download ollama/ollama", image="ollama/ollama", pull=True)


@pytest.mark.parametrize(
    ("call", "status", "said", "kind"),
    [
        (CREATE, 409, 'Conflict. The container name "/engine" is already in use by container "1".', NameTaken),
        (CREATE, 500, 'creating container storage: the container name "engine" is already in use', NameTaken),
        (CREATE, 404, "No such image: ollama/ollama:latest", ImageMissing),
        (CREATE, 500, "mkdir /var/lib/docker/overlay2/1: no space left on device", DiskFull),
        (START, 404, "No such container: engine", ContainerGone),
        (START, 500, "driver failed … Bind for 127.0.0.1:18434 failed: port is already allocated", PortTaken),
        (START, 500, "listen tcp4 127.0.0.1:18434: bind: address already in use", PortTaken),
        (START, 500, "Ports are not available: exposing port TCP 127.0.0.1:18434 -> 127.0.0.1:0", PortTaken),
        (START, 500, 'could not select device driver "" with capabilities: [[gpu]]', GpuRefused),
        (START, 500, "failed to discover GPU vendor from CDI: no known GPU vendor found", GpuRefused),
        (START, 500, "nvidia-container-cli: initialization error: nvml error: driver not loaded", GpuRefused),
        (START, 500, "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=all", GpuRefused),
        (START, 500, 'adding custom device "/dev/kfd": no such file or directory', GpuRefused),
        (START, 500, "something else", DaemonFailed),
        (PULL, 404, "manifest for ollama/ollama:9 not found: manifest unknown", ImageMissing),
        (PULL, 404, "pull access denied for x, repository does not exist or may require «docker login»", ImageMissing),
        (PULL, 0, "no matching manifest for linux/arm/v7 in the manifest list entries", ImageMissing),
        (PULL, 400, "invalid reference format: repository name must be lowercase", ImageMissing),
        (PULL, 0, "unexpected EOF", PullBroken),
        (PULL, 0, "read tcp 1.2.3.4:5->6.7.8.9:443: read: connection reset by peer", PullBroken),
        (PULL, 500, "dial tcp: lookup registry-1.docker.io on 127.0.0.53:53: no such host", PullBroken),
        (PULL, 500, "net/http: TLS handshake timeout", PullBroken),
        (PULL, 500, "net/http: request canceled while waiting for connection", PullBroken),
        (PULL, 500, "tls: failed to verify certificate: x509: certificate signed by unknown authority", PullBroken),
        (PULL, 0, "toomanyrequests: You have reached your pull rate limit", PullBroken),
        (PULL, 0, "failed to register layer: write /x: no space left on device", DiskFull),
        (PULL, 0, "failed to register layer: something odd", DaemonFailed),
    ],
)  # fmt: skip
def test_what_the_daemon_says_becomes_an_error_of_ours(
    call: DockerCall, status: int, said: str, kind: type[ContainerError]
) -> None:
    error = refused(said, call, status)
    assert type(error) is kind
    assert error.detail == said
    assert str(error).endswith(".")
    assert "\n" not in str(error)


def test_a_taken_port_is_named() -> None:
    for said in ("Bind for 127.0.0.1:18434 failed: port is already allocated",
                 "listen tcp4 127.0.0.1:18434: bind: address already in use"):  # fmt: skip
        assert str(refused(said, START, 500)).startswith("Port 18434 is used by another program.")


def test_the_nvidia_toolkit_is_named_where_it_is_missing() -> None:
    error = refused('could not select device driver "" with capabilities: [[gpu]]', START, 500)
    assert "sudo nvidia-ctk runtime configure --runtime=docker" in str(error)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "refused"), "not running"),
        (FileNotFoundError(2, "gone"), "not running"),
        (PermissionError(13, "denied"), "usermod -aG docker"),
        (TimeoutError("late"), "does not answer"),
    ],
)
def test_a_line_that_breaks_is_a_daemon_that_cannot_be_reached(error: OSError, words: str) -> None:
    found = translate(error, START)
    assert type(found) is DaemonUnreachable
    assert words in str(found)


def test_an_answer_that_makes_no_sense_does_not_leave_the_room_as_it_is() -> None:
    for error in (ValueError("not JSON"), KeyError("Id"), TypeError("None"), RuntimeError("odd")):
        assert type(translate(error, START)) is DaemonFailed


@pytest.mark.parametrize(
    ("code", "words"), [(2, "not running"), (5, "let this user in"), (231, "not running")]
)
def test_windows_pipes_speak_through_errors_of_their_own(code: int, words: str) -> None:
    kind = type("error", (Exception,), {"__module__": "pywintypes"})
    found = translate(kind(code, "CreateFile", "The system says no."), START)
    assert type(found) is DaemonUnreachable
    assert words in str(found)


def test_our_own_errors_pass() -> None:
    error = DiskFull("Full.")
    assert translate(error, START) is error
