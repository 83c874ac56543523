"""The keyring vault on a real Secret Service: GNOME's keyring on a session bus, both started here."""

from __future__ import annotations

import gc
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import secretstorage
from jeepney import DBusAddress, new_method_call
from jeepney.io.blocking import open_dbus_connection

from app.vault.base import VaultUnavailable
from app.vault.choice import open_vault
from app.vault.system import KeyringVault

# keyring leaves its connection to the collector when a call on it fails.
pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

PASSWORD = b"correct horse"
SERVICE = "org.freedesktop.secrets"
WAY_OUT = "or keep secrets in a file that only you can read with --vault file."

Program = Callable[[str, str], str]
Launch = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(autouse=True)
def left_connections_are_collected_here() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def bus(
    program: Program, launch: Launch, private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> subprocess.Popen[bytes]:
    """A session bus that ends when its input does."""
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND", raising=False)
    script = 'echo "$DBUS_SESSION_BUS_ADDRESS"; exec cat >/dev/null'
    command = [program("dbus-run-session", "dbus-daemon"), "--", "sh", "-c", script]
    process = launch(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", process.stdout.readline().decode().strip())
    return process


Keyring = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def keyring(program: Program, launch: Launch, bus: subprocess.Popen[bytes]) -> Keyring:
    """Start GNOME's keyring, unlocked."""

    def start() -> subprocess.Popen[bytes]:
        path = program("gnome-keyring-daemon", "gnome-keyring")
        command = [path, "--unlock", "--components=secrets", "--foreground"]
        process = launch(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert process.stdin is not None
        process.stdin.write(PASSWORD)
        process.stdin.close()
        wait_for_owner(present=True)
        return process

    return start


def wait_for_owner(*, present: bool) -> None:
    """Until somebody, or nobody, answers as the Secret Service."""
    asked = DBusAddress(
        "/org/freedesktop/DBus", bus_name="org.freedesktop.DBus", interface="org.freedesktop.DBus"
    )
    deadline = time.monotonic() + 20
    with closing(open_dbus_connection()) as connection:
        while time.monotonic() < deadline:
            reply = connection.send_and_get_reply(
                new_method_call(asked, "NameHasOwner", "s", (SERVICE,)), timeout=5
            )
            if reply.body == (present,):
                return
            time.sleep(0.01)
    raise AssertionError(f"{SERVICE} did not {'appear' if present else 'go'}")


async def test_secrets_are_kept_changed_and_forgotten(keyring: Keyring, tmp_path: Path) -> None:
    keyring()
    vault = await open_vault("keyring", profile="work", directory=tmp_path)
    assert isinstance(vault, KeyringVault)
    assert await vault.get("client-key/1") is None
    await vault.set("client-key/1", "mg_é€😀 \"'\\")
    await vault.set("client-key/2", "other")
    assert await vault.get("client-key/1") == "mg_é€😀 \"'\\"
    await vault.set("client-key/1", "new")
    assert await vault.get("client-key/1") == "new"
    assert await vault.delete("client-key/1") is True
    assert await vault.delete("client-key/1") is False
    assert await vault.get("client-key/1") is None
    assert await vault.get("client-key/2") == "other"
    longest = "x" * 1024
    await vault.set("a", longest)
    assert await vault.get("a") == longest


async def test_other_profiles_and_other_programs_are_kept_apart(keyring: Keyring, tmp_path: Path) -> None:
    keyring()
    one = await open_vault("keyring", profile="one", directory=tmp_path)
    two = await open_vault("keyring", profile="two", directory=tmp_path)
    await one.set("token", "1")
    assert await two.get("token") is None
    with closing(secretstorage.dbus_init()) as connection:
        (item,) = secretstorage.get_default_collection(connection).get_all_items()
        attributes, label = item.get_attributes(), item.get_label()
    # What a person sees in the desktop's own program for keys.
    assert (attributes["service"], attributes["username"]) == ("mortdecai-gateway/one", "token")
    assert label == "Password for 'token' on 'mortdecai-gateway/one'"


async def test_secrets_outlive_the_service(keyring: Keyring, private_home: Path, tmp_path: Path) -> None:
    first = keyring()
    vault = await open_vault("keyring", profile="work", directory=tmp_path)
    await vault.set("seed", "0f" * 32)
    first.terminate()
    first.wait(timeout=10)
    wait_for_owner(present=False)
    keyring()
    assert await vault.get("seed") == "0f" * 32
    written = list(private_home.rglob("*.keyring"))
    assert written
    assert all(b"0f0f" not in path.read_bytes() for path in written), "it is kept encrypted"


async def test_a_locked_keyring_that_nobody_unlocks_is_one_sentence_and_soon(
    keyring: Keyring, tmp_path: Path
) -> None:
    keyring()
    vault = await KeyringVault.open(profile="work", deadline_s=2)
    await vault.set("token", "1")
    with closing(secretstorage.dbus_init()) as connection:
        secretstorage.get_default_collection(connection).lock()
    begun = time.monotonic()
    with pytest.raises(VaultUnavailable) as caught:
        await vault.get("token")
    assert time.monotonic() - begun < 4
    assert str(caught.value).endswith(WAY_OUT)
    assert "unlock it" in str(caught.value)


async def test_a_session_without_a_bus_is_one_sentence(bus: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert bus.stdin is not None
    bus.stdin.close()
    bus.wait(timeout=10)
    with pytest.raises(VaultUnavailable) as caught:
        await open_vault("keyring", profile="work", directory=tmp_path)
    assert str(caught.value) == f"No keyring of the system answers here: start one and try again, {WAY_OUT}"


async def test_a_bus_that_goes_away_is_one_sentence(
    keyring: Keyring, bus: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """Logging out ends it under a gateway that goes on."""
    keyring()
    vault = await open_vault("keyring", profile="work", directory=tmp_path)
    assert bus.stdin is not None
    bus.stdin.close()
    bus.wait(timeout=10)
    for use in (vault.get("a"), vault.set("a", "b"), vault.delete("a")):
        with pytest.raises(VaultUnavailable) as caught:
            await use
        assert str(caught.value).startswith("The system's keyring does not work (")
        assert str(caught.value).endswith(WAY_OUT)
