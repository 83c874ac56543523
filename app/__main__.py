"""`python -m app` is `mortdecai-gateway`."""

from app.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
