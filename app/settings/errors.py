"""What goes wrong in this room, said to a person.

Rule 1: every error that leaves `settings/` is one of these, and `str(error)` is one finished sentence: what
happened, why, what to do. Rule 2: a secret never appears in it.
"""

from __future__ import annotations

from errno import EACCES, EDQUOT, EEXIST, EISDIR, EMFILE, ENAMETOOLONG, ENOENT, ENOSPC, ENOTDIR, EPERM, EROFS


class SettingError(Exception):
    """A setting, its file or its folder cannot be used. `parameter` names the setting, where it is one."""

    def __init__(self, sentence: str, parameter: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.parameter = parameter


class FolderError(SettingError):
    """A folder, a profile or a file of the gateway's own cannot be used."""


_REASONS = {
    EACCES: "permission is denied",
    EPERM: "permission is denied",
    EROFS: "the disk is read-only",
    ENOSPC: "the disk is full",
    EDQUOT: "the disk quota is used up",
    EISDIR: "it is a folder",
    ENOTDIR: "a file stands where a folder should be",
    EEXIST: "a file stands where a folder should be",
    ENOENT: "it does not exist",
    ENAMETOOLONG: "the path is too long",
    EMFILE: "too many files are open",
}


def reason(error: OSError) -> str:
    """The operating system's error as a clause of a sentence, such as «the disk is full»."""
    known = _REASONS.get(error.errno or 0)
    return known or (error.strerror or type(error).__name__).lower()
