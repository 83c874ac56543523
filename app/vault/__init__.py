"""Secrets in the OS keyring, a 0600 file or memory."""
