"""What set-up proposes: what runs already before what would have to be installed, and always with its reason."""

from __future__ import annotations

import pytest

from app.containers.base import Daemon
from app.engine.discovery import FoundEngine
from app.engine.evidence import Found, Software
from app.gateway.setup import NothingToServeWith, choose_engine

DOCKER = Daemon(
    url="unix:///var/run/docker.sock",
    found_by="the socket /var/run/docker.sock",
    name="Docker",
    version="28.0.1",
    rootless=False,
    virtual=False,
    nvidia=True,
    host_alias="host.docker.internal",
)
STOPPED = "Docker is not running. Start it with: sudo systemctl start docker"


def finding(
    port: int, software: Software, models: tuple[str, ...] = ("m",), *, locked: bool = False
) -> FoundEngine:
    found = Found(software, "1.0", models=models, healthy=not locked, locked=locked, unloads=True)
    return FoundEngine(f"http://127.0.0.1:{port}", found)


OLLAMA = finding(11434, Software.OLLAMA)
LLAMA_SERVER = finding(8080, Software.LLAMA_SERVER)


def test_an_engine_that_runs_is_taken_before_a_container_is_made() -> None:
    choice = choose_engine("auto", None, [OLLAMA], DOCKER, "")
    assert (choice.kind, choice.url) == ("endpoint", OLLAMA.url)
    assert "never stop it" in choice.sentence


def test_an_ollama_goes_before_an_engine_that_speaks_v1_only() -> None:
    assert choose_engine("auto", None, [LLAMA_SERVER, OLLAMA], DOCKER, "").url == OLLAMA.url
    assert choose_engine("auto", None, [LLAMA_SERVER], DOCKER, "").url == LLAMA_SERVER.url


def test_an_engine_that_wants_a_key_of_its_own_is_passed_over() -> None:
    locked = finding(8000, Software.VLLM, (), locked=True)
    assert choose_engine("auto", None, [locked], DOCKER, "").kind == "container"


def test_with_nothing_running_docker_it_is_and_the_sentence_says_which() -> None:
    choice = choose_engine("auto", None, [], DOCKER, "")
    assert (choice.kind, choice.url) == ("container", "")
    assert "Docker 28.0.1" in choice.sentence


def test_who_asks_for_a_container_gets_one_beside_an_engine_that_runs() -> None:
    assert choose_engine("container", None, [OLLAMA], DOCKER, "").kind == "container"


def test_a_named_address_is_taken_at_its_word() -> None:
    choice = choose_engine("auto", "http://10.0.0.5:11434", [OLLAMA], DOCKER, "")
    assert (choice.kind, choice.url) == ("endpoint", "http://10.0.0.5:11434")


@pytest.mark.parametrize("wanted", ["auto", "container"])
def test_with_neither_the_way_out_is_dockers_own_sentence(wanted: str) -> None:
    with pytest.raises(NothingToServeWith, match="sudo systemctl start docker"):
        choose_engine(wanted, None, [], None, STOPPED)


def test_who_wants_an_endpoint_where_none_answers_is_told_how_to_name_one() -> None:
    with pytest.raises(NothingToServeWith, match="--upstream"):
        choose_engine("endpoint", None, [], DOCKER, "")
