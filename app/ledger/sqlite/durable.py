"""Waiting for the disk, and not for one that takes nothing."""

from __future__ import annotations

import asyncio
from asyncio import Future
from typing import Any, TypeVar

from app.ledger.errors import LedgerFault
from app.ledger.sqlite.store import Ledger

T = TypeVar("T")
FAULT_PATIENCE_S = 1.0
"""A disk that is nearly full still takes something small; one that does not within this time takes nothing."""


async def durable(ledger: Ledger, future: Future[T]) -> T:
    """What `future`, an operation of `ledger`, brings.

    Raises LedgerFault with the fault's sentence where it stands for FAULT_PATIENCE_S; the operation stays queued.
    """
    stands = asyncio.Event()
    unsubscribe = ledger.on_fault(lambda sentence: stands.set() if sentence is not None else stands.clear())
    fault = asyncio.get_running_loop().create_task(_fault_that_stays(ledger, stands))
    try:
        either: set[Future[Any]] = {future, fault}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise LedgerFault(fault.result())
        return future.result()
    finally:
        unsubscribe()
        fault.cancel()


async def _fault_that_stays(ledger: Ledger, stands: asyncio.Event) -> str:
    while True:
        await stands.wait()
        await asyncio.sleep(FAULT_PATIENCE_S)
        if ledger.fault is not None:
            return ledger.fault
