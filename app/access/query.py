"""What stands behind the question mark of a request, as values within bounds."""

from __future__ import annotations

from aiohttp import web

from app.access.refusals import Refusal


def whole(request: web.BaseRequest, name: str, default: int, least: int, most: int) -> int:
    """The whole number that is called `name`, or `default` where it is not given; Refusal 400 for anything else."""
    text = request.query.get(name)
    return default if text is None else number(text, name, least, most)


def number(text: str, name: str, least: int, most: int) -> int:
    """`text` as a whole number from `least` to `most`, neither of which has more than nineteen digits; Refusal 400."""
    # Python itself refuses to read thousands of digits.
    if not text.isascii() or not text.isdigit() or len(text) > 19 or not least <= int(text) <= most:
        raise Refusal(400, "invalid_value", f"{name} must be a whole number from {least} to {most}.")
    return int(text)
