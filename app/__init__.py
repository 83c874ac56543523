"""Mortdecai Gateway: lend your GPU, see what it costs, keep a ledger both sides can verify."""

__version__ = "0.1.0"
