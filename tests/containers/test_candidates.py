"""Which places are asked for a daemon, and in which order."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from app.containers.base import DaemonUnreachable
from app.containers.candidates import Context, DaemonPlace, Tls, context, places

HOME = Path("/home/ada")


def urls(*arguments: object) -> list[str]:
    return [place.url for place in places(*arguments)]  # type: ignore[arg-type]


def make_context(folder: Path, name: str, host: str, *, tls: bool = False, skip: bool = False) -> None:
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / key
    meta.mkdir(parents=True)
    endpoint = {"Host": host, "SkipTLSVerify": skip}
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": endpoint}}))
    if tls:
        material = folder / "contexts" / "tls" / key / "docker"
        material.mkdir(parents=True)
        for part in ("ca", "cert", "key"):
            (material / f"{part}.pem").write_text("x")


def test_what_the_setting_names_is_the_only_place() -> None:
    found = places("unix:///x.sock", {"DOCKER_HOST": "unix:///y.sock"}, HOME, "linux", None)
    assert found == (DaemonPlace("unix:///x.sock", "the setting docker_host"),)


def test_docker_host_comes_next_and_is_the_only_place_too() -> None:
    chosen = Context("c", "unix:///c.sock", None, chosen=True)
    assert urls("", {"DOCKER_HOST": "unix:///y.sock"}, HOME, "linux", chosen) == ["unix:///y.sock"]


def test_a_context_that_was_chosen_is_the_only_place_and_a_current_one_the_first() -> None:
    chosen = Context("c", "unix:///c.sock", None, chosen=True)
    assert urls("", {}, HOME, "linux", chosen) == ["unix:///c.sock"]
    current = Context("c", "unix:///c.sock", None, chosen=False)
    assert urls("", {}, HOME, "linux", current)[:2] == ["unix:///c.sock", "unix:///var/run/docker.sock"]


def test_a_current_context_on_another_computer_leaves_the_usual_sockets() -> None:
    current = Context("far", "ssh://far", None, chosen=False)
    assert urls("", {}, HOME, "linux", current)[0] == "unix:///var/run/docker.sock"


def test_no_place_is_asked_twice() -> None:
    current = Context("default-ish", "unix:///var/run/docker.sock", None, chosen=False)
    found = urls("", {"XDG_RUNTIME_DIR": "/run/user/1000"}, HOME, "linux", current)
    assert len(found) == len(set(found))


def test_the_usual_places_of_each_platform() -> None:
    linux = urls("", {"XDG_RUNTIME_DIR": "/run/user/1000"}, HOME, "linux", None)
    assert linux[0] == "unix:///var/run/docker.sock"
    for path in (
        "/home/ada/.docker/desktop/docker.sock",
        "/run/user/1000/docker.sock",
        "/home/ada/.colima/default/docker.sock",
        "/home/ada/.rd/docker.sock",
        "/run/podman/podman.sock",
        "/run/user/1000/podman/podman.sock",
    ):
        assert f"unix://{path}" in linux
    mac = urls("", {}, HOME, "darwin", None)
    for path in ("/home/ada/.docker/run/docker.sock", "/home/ada/.orbstack/run/docker.sock"):
        assert f"unix://{path}" in mac
    assert urls("", {}, HOME, "win32", None)[0] == "npipe:////./pipe/docker_engine"


def test_docker_comes_before_podman_where_both_are() -> None:
    found = urls("", {"XDG_RUNTIME_DIR": "/run/user/1000"}, HOME, "linux", None)
    assert found.index("unix:///run/user/1000/docker.sock") < found.index("unix:///run/podman/podman.sock")


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ("/run/docker.sock", "unix:///run/docker.sock"),
        ("  unix:///a.sock ", "unix:///a.sock"),
        ("127.0.0.1:2375", "tcp://127.0.0.1:2375"),
        ("\\\\.\\pipe\\docker_engine", "npipe:////./pipe/docker_engine"),
    ],
)
def test_an_address_may_be_said_shortly(said: str, url: str) -> None:
    assert urls(said, {}, HOME, "linux", None) == [url]


@pytest.mark.parametrize("said", ["ssh://ada@far", "ftp://x", "unix://", "tcp://"])
def test_an_address_that_cannot_be_used_is_refused_in_a_sentence(said: str) -> None:
    with pytest.raises(DaemonUnreachable, match=r"^The setting docker_host .*\.$"):
        places(said, {}, HOME, "linux", None)


def test_ssh_is_refused_as_another_computer() -> None:
    with pytest.raises(DaemonUnreachable, match="another computer"):
        places("", {"DOCKER_HOST": "ssh://far"}, HOME, "linux", None)
    with pytest.raises(DaemonUnreachable, match="another computer"):
        places("", {}, HOME, "linux", Context("far", "ssh://far", None, chosen=True))


def test_tls_is_used_where_the_environment_asks_for_it(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    environ = {"DOCKER_HOST": "tcp://h:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    assert places("", environ, HOME, "linux", None)[0].tls == Tls(ca=str(tmp_path / "ca.pem"))
    del environ["DOCKER_TLS_VERIFY"]
    assert places("", environ, HOME, "linux", None)[0].tls is None


def test_the_current_context_is_read_from_dockers_files(tmp_path: Path) -> None:
    folder = tmp_path / ".docker"
    make_context(folder, "desktop-linux", "unix:///d.sock")
    (folder / "config.json").write_text('{"currentContext": "desktop-linux"}')
    assert context({}, tmp_path) == Context("desktop-linux", "unix:///d.sock", None, chosen=False)


def test_docker_context_and_docker_config_go_before(tmp_path: Path) -> None:
    make_context(tmp_path / "other", "tls", "tcp://h:2376", tls=True, skip=True)
    found = context({"DOCKER_CONTEXT": "tls", "DOCKER_CONFIG": str(tmp_path / "other")}, tmp_path)
    assert found is not None
    assert found.chosen
    assert found.tls is not None
    assert not found.tls.verify
    assert found.tls.cert.endswith("/docker/cert.pem")


def test_a_context_that_is_not_there_is_said_where_it_was_chosen(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnreachable, match="the Docker context gone, which does not exist"):
        context({"DOCKER_CONTEXT": "gone"}, tmp_path)
    folder = tmp_path / ".docker"
    folder.mkdir()
    (folder / "config.json").write_text('{"currentContext": "gone"}')
    assert context({}, tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"currentContext": 3}', '{"currentContext": "default"}'])
def test_whatever_stands_in_dockers_settings_nothing_breaks(tmp_path: Path, text: str) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text(text)
    assert context({}, tmp_path) is None
