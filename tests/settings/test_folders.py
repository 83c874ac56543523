"""Folders and profiles."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings.errors import FolderError
from app.settings.folders import Folders, check_profile_name, create_profile, delete_profile, list_profiles
from app.settings.instance import AlreadyRunning, InstanceLock

WithoutRights = Callable[[Path], AbstractContextManager[None]]
posix = pytest.mark.skipif(os.name != "posix", reason="platform: Windows has no such bits")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_profile_has_folders_of_its_own_below_the_root(tmp_path: Path) -> None:
    one, two = Folders.for_profile("one", tmp_path), Folders.for_profile("two", tmp_path)
    assert not set(one) & set(two)
    assert all(folder.is_relative_to(tmp_path) for folder in (*one, *two, one.logs))
    assert one.settings_file == one.config / "settings.toml"


def test_naming_folders_touches_no_disk(tmp_path: Path) -> None:
    Folders.for_profile("one", tmp_path / "root")
    assert list(tmp_path.iterdir()) == []


def test_mortdecai_home_moves_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORTDECAI_HOME", os.fspath(tmp_path))
    assert Folders.for_profile("one") == Folders.for_profile("one", tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("MORTDECAI_HOME", tmp_path.name)
    assert Folders.for_profile("one") == Folders.for_profile("one", tmp_path)


def test_without_a_root_the_folders_are_where_the_system_keeps_such_things(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MORTDECAI_HOME", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", os.fspath(tmp_path / "c"))
    folders = Folders.for_profile()
    assert all("mortdecai-gateway" in folder.parts and folder.name == "default" for folder in folders)
    if os.name == "posix" and os.uname().sysname == "Linux":
        assert folders.config == tmp_path / "c" / "mortdecai-gateway" / "default"


@posix
def test_folders_are_made_private_also_where_they_exist_already(tmp_path: Path) -> None:
    folders = Folders.for_profile("one", tmp_path / "root")
    folders.data.mkdir(parents=True, mode=0o755)
    folders.prepare()
    folders.prepare()
    assert {mode(folder) for folder in folders} == {0o700}
    assert mode(folders.config.parent) == 0o700


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "/etc",
        "C:",
        "-x",
        "_x",
        ".x",
        "x.",
        "x y",
        "x\n",
        "\nx",
        "x\0",
        "é",
        "١",
        "~",
        "~root",
        "$HOME",
        "%TEMP%",
        "a" * 64,
        "*",
        "default/",
        "x:stream",
    ],
)
def test_a_name_with_a_trick_in_it_is_no_profile(tmp_path: Path, name: str) -> None:
    for use in (Folders.for_profile, create_profile, delete_profile):
        with pytest.raises(FolderError) as caught:
            use(name, tmp_path)
        assert "use 1 to 63 letters, digits, hyphens and underscores without accents" in str(caught.value)
        assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["con", "NUL", "Com1", "lpt9", "aux", "prn"])
def test_a_name_that_windows_keeps_for_a_device_is_no_profile(name: str) -> None:
    with pytest.raises(
        FolderError, match=f"called {name} because Windows keeps that name for a device: choose"
    ):
        check_profile_name(name)


@given(name=st.text(max_size=70) | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", fullmatch=True))
def test_a_profile_that_is_accepted_is_one_plain_folder_below_the_root(name: str) -> None:
    root = Path("/root-of-all")
    try:
        folders = Folders.for_profile(name, root)
    except FolderError:
        return
    assert len(name) <= 63
    for folder in folders:
        assert os.path.normpath(folder) == os.fspath(folder)
        assert folder.parent.parent == root
        assert folder.name == name


def test_profiles_are_created_listed_and_deleted(tmp_path: Path) -> None:
    assert list_profiles(tmp_path) == ("default",)
    folders = create_profile("work", tmp_path)
    create_profile("Alpha", tmp_path)
    (folders.data / "ledger.db").write_text("x")
    folders.logs.mkdir()
    assert list_profiles(tmp_path) == ("default", "Alpha", "work")
    delete_profile("work", tmp_path)
    assert list_profiles(tmp_path) == ("default", "Alpha")
    assert not any(folder.exists() for folder in folders)


def test_what_is_not_a_profile_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / ".hidden").mkdir()
    (tmp_path / "config" / "file").write_text("")
    (tmp_path / "config" / "two words").mkdir()
    assert list_profiles(tmp_path) == ("default",)


def test_a_profile_is_created_only_once_whatever_the_case(tmp_path: Path) -> None:
    create_profile("work", tmp_path)
    for name in ("work", "Work", "WORK"):
        with pytest.raises(
            FolderError, match="There is a profile work already: use it, or choose another name"
        ):
            create_profile(name, tmp_path)


def test_the_default_profile_can_be_made_once_and_not_in_another_case(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="There is a profile default already"):
        create_profile("Default", tmp_path)
    create_profile("default", tmp_path)
    with pytest.raises(FolderError, match="There is a profile default already"):
        create_profile("default", tmp_path)


def test_a_profile_that_is_not_there_cannot_be_deleted(tmp_path: Path) -> None:
    create_profile("work", tmp_path)
    with pytest.raises(FolderError) as caught:
        delete_profile("wrok", tmp_path)
    assert str(caught.value) == "There is no profile wrok: the profiles are default, work."


def test_a_profile_is_not_deleted_while_its_gateway_runs(tmp_path: Path) -> None:
    folders = create_profile("work", tmp_path)
    with InstanceLock.acquire(folders.state) as lock:
        lock.announce("http://127.0.0.1:1", "mg_token")
        with pytest.raises(AlreadyRunning, match=r"http://127\.0\.0\.1:1"):
            delete_profile("work", tmp_path)
    assert all(folder.is_dir() for folder in folders)
    delete_profile("work", tmp_path)


def test_deleting_follows_no_link(tmp_path: Path) -> None:
    folders = create_profile("work", tmp_path / "root")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("x")
    folders.data.rmdir()
    folders.data.symlink_to(elsewhere)
    delete_profile("work", tmp_path / "root")
    assert (elsewhere / "precious").exists()
    assert not os.path.lexists(folders.data)


def test_a_file_in_the_way_of_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(FolderError) as caught:
        Folders.for_profile("one", tmp_path).prepare()
    assert str(caught.value) == (
        f"The folder {tmp_path}/data/one cannot be made private or written because a file stands where a folder should "
        "be: correct that, or name another place in MORTDECAI_HOME."
    )


@posix
def test_a_place_that_may_not_be_written_is_said(open_folder: Path, without_rights: WithoutRights) -> None:
    with without_rights(open_folder), pytest.raises(FolderError) as caught:
        Folders.for_profile("one", open_folder).prepare()
    assert "because permission is denied: correct that, or name another place in MORTDECAI_HOME." in str(
        caught.value
    )


@pytest.mark.skipif(os.name != "posix", reason="platform: no users by number")
@pytest.mark.skipif(
    os.name == "posix" and os.geteuid() != 0, reason="only root can act as another user: run this as root"
)
def test_a_folder_of_another_user_is_said(open_folder: Path, without_rights: WithoutRights) -> None:
    folders = Folders.for_profile("one", open_folder)
    for folder in folders:
        folder.mkdir(parents=True, mode=0o700)
        folder.parent.chmod(0o755)
    with without_rights(open_folder), pytest.raises(FolderError) as caught:
        folders.prepare()
    assert str(caught.value) == (
        f"The folder {folders.config} cannot be written because permission is denied: give it to your user, or name "
        "another place in MORTDECAI_HOME."
    )
