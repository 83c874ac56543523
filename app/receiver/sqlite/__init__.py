"""The receiver's copy in one SQLite file."""
