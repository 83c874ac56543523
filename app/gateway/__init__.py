"""The running whole: assembled bottom-up, serving and not, the engine upstream, the books, the table of endpoints."""
