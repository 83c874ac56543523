"""Every vault, as the gateway uses it."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from pathlib import Path

import pytest
from keyring import backend as keyring_backend
from keyring import errors as keyring_errors

from app.vault.base import Vault, VaultUnavailable, in_thread
from app.vault.choice import open_vault
from app.vault.file import FILE, FileVault
from app.vault.memory import MemoryVault
from app.vault.system import KeyringVault

WAY_OUT = "or keep secrets in a file that only you can read with --vault file."


class Drawer(keyring_backend.KeyringBackend):
    """A keyring backend in memory, at the edge where a system's own would be."""

    priority = 5  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if (service, username) not in self.kept:
            raise keyring_errors.PasswordDeleteError("No such password!")
        del self.kept[service, username]


class Failing(Drawer):
    """One that raises, whatever is asked."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def get_password(self, service: str, username: str) -> str | None:
        raise self.error


class Forgetful(Drawer):
    def set_password(self, service: str, username: str, password: str) -> None:
        """Keeps nothing and says nothing, like keyring's own null backend."""


class Stuck(Drawer):
    """One that waits for a person who never comes."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def get_password(self, service: str, username: str) -> str | None:
        self.go_on.wait()
        return super().get_password(service, username)


@pytest.fixture(params=["memory", "file", "keyring"])
def vault(request: pytest.FixtureRequest, tmp_path: Path) -> Vault:
    kinds = {
        "memory": MemoryVault,
        "file": lambda: FileVault(tmp_path),
        "keyring": lambda: KeyringVault(Drawer(), profile="p"),
    }
    vault = kinds[request.param]()
    assert vault.name == request.param
    return vault


async def test_what_was_never_kept_is_none(vault: Vault) -> None:
    assert await vault.get("operator-token") is None
    assert await vault.delete("operator-token") is False


async def test_what_is_kept_is_found_changed_and_forgotten(vault: Vault) -> None:
    await vault.set("client-key/1", "mg_é€😀 \"'\\")
    await vault.set("client-key/2", "other")
    assert await vault.get("client-key/1") == "mg_é€😀 \"'\\"
    await vault.set("client-key/1", "new")
    assert await vault.get("client-key/1") == "new"
    assert await vault.delete("client-key/1") is True
    assert await vault.get("client-key/1") is None
    assert await vault.get("client-key/2") == "other"


@pytest.mark.parametrize("key", ["", "UPPER", "a b", "é", "a\n", "-a", "../a", "a" * 129])
async def test_a_name_that_some_vault_would_not_keep_apart_is_refused_by_all(vault: Vault, key: str) -> None:
    with pytest.raises(ValueError, match="a secret cannot be called"):
        await vault.get(key)
    with pytest.raises(ValueError, match="a secret cannot be called"):
        await vault.set(key, "x")
    with pytest.raises(ValueError, match="a secret cannot be called"):
        await vault.delete(key)


@pytest.mark.parametrize("secret", ["", "a\nb", "a\0", "\ud800", "a" * 1025])
async def test_a_secret_that_some_vault_would_not_take_is_refused_by_all(vault: Vault, secret: str) -> None:
    with pytest.raises(ValueError, match="a secret has 1 to 1024 printable characters") as caught:
        await vault.set("a", secret)
    assert not secret or secret not in str(caught.value)


async def test_many_at_once_lose_nothing(vault: Vault) -> None:
    await asyncio.gather(*(vault.set(f"key/{n}", str(n)) for n in range(30)))
    assert await asyncio.gather(*(vault.get(f"key/{n}") for n in range(30))) == [str(n) for n in range(30)]


# ------------------------------------------------------------------ the file


async def test_the_file_outlives_the_process(tmp_path: Path) -> None:
    await FileVault(tmp_path / "new").set("a", "b")
    assert await FileVault(tmp_path / "new").get("a") == "b"


@pytest.mark.skipif(os.name != "posix", reason="platform: Windows has no such bits")
async def test_the_file_and_its_folder_are_their_owners_own(tmp_path: Path) -> None:
    vault = FileVault(tmp_path / "new")
    await vault.set("a", "b")
    assert stat.S_IMODE(vault.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(vault.file.parent.stat().st_mode) == 0o700
    vault.file.chmod(0o644)
    assert await vault.get("a") == "b"
    assert stat.S_IMODE(vault.file.stat().st_mode) == 0o600


async def test_looking_into_a_vault_that_is_not_there_makes_none(tmp_path: Path) -> None:
    assert await FileVault(tmp_path).get("a") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"version": 1}',
        '{"version": 1, "secrets": {"a": 1}}',
        "[" * 99999,
        "\xff",
        '{"version": "1", "secrets": {}}',
        '{"version": 1, "secrets": [1]}',
    ],
)
async def test_a_damaged_file_is_said_and_never_written_over(tmp_path: Path, text: str) -> None:
    vault = FileVault(tmp_path)
    vault.file.write_bytes(text.encode("latin-1"))
    for use in (vault.get("a"), vault.set("a", "b"), vault.delete("a")):
        with pytest.raises(VaultUnavailable) as caught:
            await use
        assert str(caught.value) == (
            f"The vault {vault.file} is damaged: put back a copy, or move it away to begin with new keys."
        )
    assert vault.file.read_bytes() == text.encode("latin-1")


async def test_a_file_from_a_newer_version_is_not_written_over(tmp_path: Path) -> None:
    vault = FileVault(tmp_path)
    vault.file.write_text(json.dumps({"version": 2, "secrets": {}}))
    with pytest.raises(
        VaultUnavailable, match="is from a newer Mortdecai Gateway: install that, or move the file away"
    ):
        await vault.set("a", "b")


async def test_a_folder_in_place_of_the_file_is_said(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(VaultUnavailable, match="because it is not a small file: move it away"):
        await FileVault(tmp_path).get("a")


async def test_a_file_in_place_of_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(VaultUnavailable, match=r"cannot be used \(.+\): correct that and try again"):
        await FileVault(tmp_path / "x").set("a", "b")


async def test_a_disk_without_room_keeps_the_old_file(tmp_path: Path) -> None:
    import resource

    vault = FileVault(tmp_path)
    await vault.set("a", "b")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(
            VaultUnavailable, match=r"cannot be used \(file too large\): correct that and try again"
        ):
            await vault.set("a", "c")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await vault.get("a") == "b"
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.skipif(os.name != "posix", reason="platform: no users by number")
@pytest.mark.skipif(
    os.name == "posix" and os.geteuid() != 0, reason="only root can act as another user: run this as root"
)
async def test_a_file_that_others_can_read_and_we_cannot_hide_is_not_used(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        vault = FileVault(folder)
        await vault.set("a", "b")
        vault.file.chmod(0o644)
        os.seteuid(65534)
        try:
            with pytest.raises(VaultUnavailable) as caught:
                await vault.get("a")
        finally:
            os.seteuid(0)
    finally:
        shutil.rmtree(folder)
    assert str(caught.value) == (
        f"The vault {vault.file} can be read by other users and belongs to another one: run chmod 600 on "
        "it as its owner."
    )


# ------------------------------------------------------------------ the keyring


async def test_profiles_do_not_see_each_others_secrets() -> None:
    drawer = Drawer()
    await KeyringVault(drawer, profile="one").set("a", "1")
    assert await KeyringVault(drawer, profile="two").get("a") is None
    assert list(drawer.kept) == [("mortdecai-gateway/one", "a")]


async def test_a_keyring_that_keeps_nothing_is_found_out() -> None:
    with pytest.raises(VaultUnavailable) as caught:
        await KeyringVault(Forgetful(), profile="p").set("a", "b")
    assert str(caught.value) == (
        f"The system's keyring did not keep what it was given: look at its settings, {WAY_OUT}"
    )


async def test_a_locked_keyring_is_said() -> None:
    with pytest.raises(VaultUnavailable) as caught:
        await KeyringVault(Failing(keyring_errors.KeyringLocked("no")), profile="p").get("a")
    assert str(caught.value) == f"The system's keyring is locked: unlock it and try again, {WAY_OUT}"


@pytest.mark.parametrize(
    "error", [keyring_errors.InitError("x"), RuntimeError("x"), OSError("x"), KeyError("x")]
)
async def test_whatever_a_keyring_raises_is_one_sentence(error: Exception) -> None:
    with pytest.raises(VaultUnavailable) as caught:
        await KeyringVault(Failing(error), profile="p").get("a")
    assert str(caught.value) == (
        f"The system's keyring does not work ({type(error).__name__}): see that it runs and try again, {WAY_OUT}"
    )


async def test_a_keyring_that_waits_for_a_person_holds_up_nothing() -> None:
    stuck = Stuck()
    vault = KeyringVault(stuck, profile="p", deadline_s=0.05)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    with pytest.raises(VaultUnavailable) as caught:
        await vault.get("a")
    assert str(caught.value) == (
        f"The system's keyring did not answer in 0.05 s: unlock it if it asks to be and try again, {WAY_OUT}"
    )
    assert ticks > 10
    ticking.cancel()
    # The answer that comes too late is dropped, and the next call is served.
    stuck.go_on.set()
    assert await vault.get("a") is None


def test_a_stuck_keyring_does_not_keep_the_program_from_ending() -> None:
    import subprocess
    import sys

    script = (
        "import asyncio, threading\n"
        "from app.vault.base import in_thread, VaultUnavailable\n"
        "async def main():\n"
        "    try:\n"
        "        await in_thread(threading.Event().wait, deadline_s=0.05, late='late.')\n"
        "    except VaultUnavailable as error:\n"
        "        print(error)\n"
        "asyncio.run(main())\n"
    )
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "late.\n", "")


async def test_an_answer_after_the_end_of_the_loop_is_dropped_in_silence() -> None:
    go_on, done = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait()
        done.set()

    def other_loop() -> None:
        with pytest.raises(VaultUnavailable):
            asyncio.run(in_thread(work, deadline_s=0.01, late="late."))

    await asyncio.to_thread(other_loop)
    go_on.set()
    assert await asyncio.to_thread(done.wait, 5)
    for thread in threading.enumerate():
        if thread.name == "vault":
            await asyncio.to_thread(thread.join)


# ------------------------------------------------------------------ choosing


@pytest.fixture
def no_bus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a desktop: no session bus and no choice made."""
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path / 'none'}")
    monkeypatch.setenv("XDG_CONFIG_HOME", os.fspath(tmp_path))
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND", raising=False)


@pytest.mark.usefixtures("no_bus")
async def test_no_keyring_is_one_sentence_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(VaultUnavailable) as caught:
        await open_vault("keyring", profile="p", directory=tmp_path)
    assert str(caught.value) == f"No keyring of the system answers here: start one and try again, {WAY_OUT}"


@pytest.mark.usefixtures("no_bus")
@pytest.mark.parametrize("kind", ["null", "fail"])
async def test_a_keyring_that_is_none_counts_as_none(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", f"keyring.backends.{kind}.Keyring")
    with pytest.raises(VaultUnavailable) as caught:
        await open_vault("keyring", profile="p", directory=tmp_path)
    assert str(caught.value) == (
        "The keyring chosen in PYTHON_KEYRING_BACKEND or keyringrc.cfg keeps nothing safe "
        f"(keyring.backends.{kind}): correct that, {WAY_OUT}"
    )


@pytest.mark.usefixtures("no_bus")
async def test_a_keyring_switched_off_in_keyrings_own_file_counts_as_none(tmp_path: Path) -> None:
    folder = tmp_path / "python_keyring"
    folder.mkdir()
    (folder / "keyringrc.cfg").write_text("[backend]\ndefault-keyring=keyring.backends.null.Keyring\n")
    with pytest.raises(VaultUnavailable, match=r"keeps nothing safe \(keyring\.backends\.null\)"):
        await open_vault("keyring", profile="p", directory=tmp_path)


@pytest.mark.usefixtures("no_bus")
async def test_a_keyring_that_does_not_exist_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "no_such_module.Keyring")
    with pytest.raises(
        VaultUnavailable, match=r"cannot be used \(ModuleNotFoundError\): correct that, or keep secrets"
    ):
        await open_vault("keyring", profile="p", directory=tmp_path)


async def test_the_vault_that_was_named_is_the_one_that_is_opened(tmp_path: Path) -> None:
    assert isinstance(await open_vault("memory", profile="p", directory=tmp_path), MemoryVault)
    vault = await open_vault("file", profile="p", directory=tmp_path)
    assert isinstance(vault, FileVault)
    assert vault.file.parent == tmp_path


async def test_a_damaged_file_is_found_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    with pytest.raises(VaultUnavailable, match="is damaged"):
        await open_vault("file", profile="p", directory=tmp_path)


async def test_a_kind_that_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(VaultUnavailable) as caught:
        await open_vault("bank", profile="p", directory=tmp_path)
    assert (
        str(caught.value)
        == "There is no vault called 'bank': choose one of keyring, file, memory with --vault."
    )


async def test_what_a_killed_write_left_is_removed_and_one_under_way_is_not(tmp_path: Path) -> None:
    kept = FileVault(tmp_path)
    await kept.set("key", "secret")
    old, new, other = tmp_path / ".vault.abc.tmp", tmp_path / ".vault.def.tmp", tmp_path / ".other.tmp"
    for file in (old, new, other):
        file.write_text("{}")
    for file in (old, other):
        os.utime(file, (1, 1))
    assert await FileVault(tmp_path).get("key") == "secret"
    assert (old.exists(), new.exists(), other.exists()) == (False, True, True)
