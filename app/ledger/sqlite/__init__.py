"""The ledger's store: one SQLite file, one thread that writes it, readers beside it, and the audit of what it holds."""
