"""`ledger statement` and `ledger check-statement`: a client's month on paper, and whether it is what was signed.

Rule: checking needs no profile, no vault and no network, so it works on any machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.commands.books import shut
from app.commands.common import CommandError, Ground, ground
from app.commands.ledger_source import Threaded, named_log
from app.commands.operator import ask_running
from app.ledger.checkpoint import VerifierKey, verify_checkpoint
from app.ledger.copies import leaves_of
from app.ledger.errors import BadProof, CheckpointError, LedgerError
from app.ledger.merkle import leaf_hash, root_from_leaves
from app.ledger.parties import Client
from app.ledger.sqlite.reader import Reader
from app.ledger.sqlite.schema import LEDGER_FILE
from app.ledger.statement import Gathering, vouched
from app.proxy.statement_page import parted
from app.proxy.statements import IssuedStatement, NoMonth, issue, month_of

ENDINGS = ("html", "json", "csv")
LONGEST_B = 64 << 20


def statement(options: argparse.Namespace) -> int:
    """`ledger statement --month YYYY-MM`: writes the page and, beside it, the data."""
    made = asyncio.run(_made(ground(options), options))
    stem = _stem(made)
    folder = Path(options.out or ".")
    try:
        for ending, text in made.files.items():
            (folder / f"{stem}.{ending}").write_text(text)
    except OSError as error:
        raise CommandError(f"{folder / stem} cannot be written: {error.strerror}.") from None
    page = folder / f"{stem}.html"
    vkey = json.loads(made.files["json"])["vkey"]
    print(f"{page} is the statement of {made.client} for {made.month}; the data lies beside it. To check it:")
    print(f"  mortdecai-gateway ledger check-statement '{page}' --vkey '{vkey}'")
    return 0


def _stem(made: IssuedStatement) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "-", made.client).strip("-") or made.log.replace("/", "-")
    return f"statement-{name[:60]}-{made.month}"


async def _made(base: Ground, options: argparse.Namespace) -> IssuedStatement:
    url = base.running_url()
    if url is not None:
        logs = (await ask_running(base, url, "GET", "/ledger/logs"))["logs"]
        log = named_log(tuple(Client(at["log"], at["client"], at["log"], 0) for at in logs), options.log)
        asked = {"log": log, "month": options.month, "time_zone": options.time_zone}
        told = await ask_running(base, url, "POST", "/admin/statement", asked, answer_s=600)
        return IssuedStatement(told["log"], told["client"], told["month"], told["files"])
    if base.store.current.vault != "memory" and not (base.folders.data / LEDGER_FILE).exists():
        raise CommandError(f"The profile {base.profile} has no ledger yet.")
    try:
        month = month_of(options.month, options.time_zone)
    except NoMonth as error:
        raise CommandError(str(error)) from None
    async with shut(base) as profile, Threaded.over(Reader(profile.path, profile.signer)) as ledger:
        log = named_log(await ledger.ask(ledger.reader.clients), options.log)
        return await issue(ledger, log, month, profile.signer)


def check_statement(options: argparse.Namespace) -> int:
    """`ledger check-statement FILE`; the exit status is 0 where all of it is as it was signed, else 1."""
    path = Path(options.file)
    try:
        keys = [VerifierKey.parse(text.strip()) for text in options.vkey]
    except CheckpointError as error:
        raise CommandError(f"--vkey is no key: {error}.") from None
    leaves = None if options.leaves is None else _read(Path(options.leaves))
    try:
        said = _checked(path, keys, leaves)
    except BadProof as error:
        print(f"NOT PROVEN: {error}")
        return 1
    print("\n".join(said))
    return 0


def _checked(path: Path, keys: Sequence[VerifierKey], leaves: bytes | None) -> list[str]:
    files = _files(path)
    if "html" not in files:
        raise BadProof("The page is not there, which carries the signature.")
    page, note = parted(_decoded(files["html"]))
    signed = vouched(note, keys)
    contents = {**files, "html": page.encode()}
    for ending, content in contents.items():
        signed.require(ending, content)
    said = [f"OK: the statement of {signed.log} for {signed.month} is as {signed.key.name} signed it."]
    missing = [ending for ending in ENDINGS if ending not in files]
    if missing:
        said.append(
            f"Not looked at, for they are not there: {', '.join(f'.{ending}' for ending in missing)}."
        )
    if leaves is not None:
        if "json" not in files:
            raise BadProof("To work the figures out anew, the .json file has to lie beside the page.")
        said.append(_worked_out(files["json"], leaves, keys))
    return said


def _files(path: Path) -> Mapping[str, bytes]:
    """Whichever of the statement's files lie side by side."""
    found = {ending: path.with_suffix(f".{ending}") for ending in ENDINGS}
    there = {ending: _read(file) for ending, file in found.items() if file.exists()}
    if path.suffix.lstrip(".") not in there:
        raise CommandError(f"{path} is not there, or is no file of a statement (.html, .json or .csv).")
    return there


def _worked_out(data: bytes, leaves: bytes, keys: Sequence[VerifierKey]) -> str:
    """The data made anew from the records."""
    told = json.loads(data)
    bodies = leaves_of(leaves)
    claim = None
    for key in keys:
        try:
            claim = verify_checkpoint(told["checkpoint"], key, told["log"])
        except CheckpointError:
            continue
    if claim is None:
        raise BadProof("The checkpoint in the statement is signed by none of the keys.")
    if len(bodies) < claim.size or root_from_leaves(map(leaf_hash, bodies[: claim.size])) != claim.root:
        raise BadProof("The records are not those that the statement was made from.")
    try:
        gathered = Gathering(month_of(told["month"], told["time_zone"]))
        gathered.read(bodies[: claim.size])
        again = gathered.data(told["checkpoint"], told["vkey"])
    except (LedgerError, NoMonth) as error:
        raise BadProof(f"The figures cannot be worked out anew: {error}") from None
    if again != data:
        raise BadProof("The records add up to other figures than the statement's: it says what they do not.")
    return f"Every figure in it follows from the {claim.size} records, which are those that were signed."


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise BadProof("The page is not text.") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read((1 << 30) + 1)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > 1 << 30:
        raise CommandError(f"{path} is larger than any statement or log.")
    return content
