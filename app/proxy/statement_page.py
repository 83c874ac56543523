"""A month's statement as a page that a person reads and prints, and as a table.

Rule 1: pure, from the statement's data alone; everything in it is escaped, and nothing in it is run or fetched.
Rule 2: the page ends with its own signature, over all that stands before it; nothing may follow.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import escape, unescape
from typing import Any

from app.basics.figures import plain_digits, three_figures
from app.basics.resources import resource
from app.billing.money import format_money, pico_to_decimal
from app.ledger.checkpoint import b64, parse_checkpoint
from app.ledger.errors import BadProof

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_KINDS = {
    "usage": "Requests",
    "uptime": "Uptime that no request carried",
    "labor": "Labour",
    "adjust": "Corrections",
}
_BEFORE, _AFTER = '<h2>Signature</h2>\n<pre id="signature">', "</pre>\n</main>\n</body>\n</html>\n"
_HEAD = ("Requests", "Tokens in", "Tokens out", "Energy, Wh")
_UJ_PER_WH = 3_600_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def statement_page(data: bytes, *, over: bool) -> str:
    """The page without its signature; `over`: the month has ended."""
    told = json.loads(data)
    year, month = told["month"].split("-")
    title = f"{_MONTHS[int(month) - 1]} {year}"
    claim, _ = parse_checkpoint(told["checkpoint"])
    total, currency = told["total"], told["currency"]
    money = _Money(currency, int(total["cost"]))
    parts = [
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(told['client'])}, {title}</title>\n"
        f"<style>\n{resource('web/statement.css').read_text()}</style>\n</head>\n<body>\n<main>\n<header>\n"
        f'<div><p class="quiet">Statement for {escape(told["client"])}</p><h1>{title}</h1></div>\n'
        f'<div class="number">{escape(money.large(int(total["cost"])))}</div>\n</header>\n',
        _facts(told, over),
        *(_table(*table) for table in _tables(told, money)),
        "<h2>How to check it</h2>\n"
        f"<p>This page was made from the {claim.size:,} records of a log that can be added to and not be changed. Its"
        " end and what stands below are signed. Have the owner of the gateway tell you the public key in person, and"
        " compare it with this one:</p>\n"
        f"<pre>{escape(told['vkey'])}</pre>\n"
        "<p>Then, with this page and the two files that came with it in one folder:</p>\n"
        "<pre>mortdecai-gateway ledger check-statement THIS-PAGE.html --vkey KEY</pre>\n"
        "<p>With the records themselves (<code>--leaves FILE</code>) every figure is worked out anew.</p>\n"
        f"<dl><dt>Log</dt><dd>{escape(told['log'])}</dd><dt>Records</dt><dd>{claim.size:,}</dd>"
        f"<dt>Root</dt><dd>{b64(claim.root)}</dd></dl>\n",
    ]
    return "".join(parts)


def with_signature(page: str, note: str) -> str:
    """The whole page."""
    return f"{page}{_BEFORE}{escape(note)}{_AFTER}"


def parted(text: str) -> tuple[str, str]:
    """The page without its signature, and the note; BadProof where it does not end with one."""
    page, found, rest = text.rpartition(_BEFORE)
    note = unescape(rest.removesuffix(_AFTER))
    if not found or with_signature(page, note) != text:
        raise BadProof("The page does not end with its signature: something is missing, or was added.")
    return page, note


def statement_csv(data: bytes) -> bytes:
    """The days as a table, amounts exact."""
    told, out = json.loads(data), io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(
        (
            "day",
            "requests",
            "prompt_tokens",
            "completion_tokens",
            "duration_us",
            "energy_uj",
            "cost",
            "currency",
        )
    )
    for one in told["days"]:
        cost = f"{pico_to_decimal(int(one['cost'])):f}"
        figures = (one["requests"], one["tok_in"], one["tok_out"], one["dur_us"], one["e_uj"])
        rows.writerow((one["day"], *figures, cost, told["currency"]))
    return out.getvalue().encode()


class _Money:
    """Amounts of one currency in columns: as many decimals as the total needs, the same everywhere."""

    def __init__(self, currency: str, total_pico: int) -> None:
        self.currency = currency
        amount = abs(pico_to_decimal(total_pico))
        self._places = 6 if amount < 1 else 4 if amount < 100 else 2
        self.head = f"Cost, {currency}"

    def cell(self, pico: int) -> str:
        rounded = pico_to_decimal(pico).quantize(Decimal(1).scaleb(-self._places))
        return f"{rounded:,f}".replace("-", "−")

    def large(self, pico: int) -> str:
        return format_money(pico, self.currency)


def _facts(told: Mapping[str, Any], over: bool) -> str:
    total = told["total"]
    wh = int(total["e_uj"]) / _UJ_PER_WH
    energy = f"{three_figures(wh / 1000)} kWh" if wh >= 1000 else f"{three_figures(wh)} Wh"
    facts = {
        "Period": f"{_moment(told['from'])} to {_moment(told['to'])}, {told['time_zone']}",
        "Requests": f"{total['requests']:,}",
        "Tokens": f"{total['tok_in']:,} in, {total['tok_out']:,} out",
        "Inference time": _duration(total["dur_us"]),
        "Energy": energy,
        "All that was ever recorded": format_money(int(told["log_total_cost"]), told["currency"]),
    }
    if not over:
        facts["Not final"] = "The month had not ended when this was made."
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return f"<dl>{listed}</dl>\n"


_Table = tuple[str, Sequence[str], Iterable[Sequence[str]], Sequence[str] | None]
"""Title, head, rows, and the row of sums where there is one."""


def _tables(told: Mapping[str, Any], money: _Money) -> Iterable[_Table]:
    figures = (*_HEAD, money.head)
    yield "What it is for", ("", "Records", money.head), _kinds(told, money), None
    if told["by_hand"]:
        yield "Labour and corrections", ("What for", "Time", money.head), _by_hand(told, money), None
    yield "Day by day", ("Day", *figures), _days(told, money), _row("All days", told["total"], money)
    yield "Models", ("Model", *figures), (_row(one["model"], one, money) for one in told["models"]), None
    yield "Keys", ("Key", *figures), (_row(_key(one), one, money) for one in told["keys"]), None
    head = ("Since", "Per kWh", "Billing", "Margin", "Base, an hour", "Labour, an hour")
    yield "Prices", head, _terms(told), None


def _moment(iso: str) -> str:
    return datetime.fromisoformat(iso).strftime("%Y-%m-%d %H:%M")


def _duration(us: int) -> str:
    seconds = us // 1_000_000
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _kinds(told: Mapping[str, Any], money: _Money) -> Iterable[Sequence[str]]:
    for one in told["kinds"]:
        if one["kind"] in _KINDS:
            yield escape(_KINDS[one["kind"]]), f"{one['records']:,}", money.cell(int(one["cost"]))


def _by_hand(told: Mapping[str, Any], money: _Money) -> Iterable[Sequence[str]]:
    """What was written into the log by hand, each with its words."""
    for one in told["by_hand"]:
        what = "Labour" if one["kind"] == "labor" else "Correction"
        words = f"{one['day']}, {what}: {one['words']}" if one["words"] else f"{one['day']}, {what}"
        time = "" if one["dur_us"] is None else _duration(one["dur_us"])
        yield escape(words), time, money.cell(int(one["cost"]))


def _days(told: Mapping[str, Any], money: _Money) -> Iterable[Sequence[str]]:
    return (_row(one["day"], one, money) for one in told["days"])


def _row(name: str, one: Mapping[str, Any], money: _Money) -> Sequence[str]:
    wh = int(one["e_uj"]) / _UJ_PER_WH
    figures = (f"{one[field]:,}" for field in ("requests", "tok_in", "tok_out"))
    return escape(name), *figures, three_figures(wh), money.cell(int(one["cost"]))


def _key(one: Mapping[str, Any]) -> str:
    return f"{one['label']} ({one['key']})" if one["label"] else str(one["key"])


def _terms(told: Mapping[str, Any]) -> Iterable[Sequence[str]]:
    for one in told["tariffs"]:
        since = (_EPOCH + timedelta(microseconds=one["since_us"])).strftime("%Y-%m-%d %H:%M UTC")
        money = [format_money(int(one[name]), one["currency"]) for name in ("base_rate", "labor_rate")]
        margin = f"{plain_digits(one['margin_ppm'] / 10_000)} %"
        prices = _prices(one["prices"], one["currency"])
        if "ac_factor_ppm" in one:
            prices += f" × {plain_digits(one['ac_factor_ppm'] / 1_000_000)} (AC)"
        yield tuple(map(escape, (since, prices, one["mode"], margin, *money)))


def _prices(content: str, currency: str) -> str:
    """One price, or from the lowest to the highest; the data has them all."""
    try:
        prices = sorted(int(price) for _, _, price in json.loads(content))
        shown = [format_money(price, currency) for price in dict.fromkeys((prices[0], prices[-1]))]
    except (ValueError, TypeError, IndexError):
        return "see the data"
    return " to ".join(shown)


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]], foot: Sequence[str] | None) -> str:
    """Cells are HTML already; nothing where there are no rows."""
    body = [_cells("td", row) for row in rows]
    if not body:
        return ""
    last = f"<tfoot>{_cells('td', foot)}</tfoot>" if foot else ""
    first = _cells("th", tuple(map(escape, head)))
    return (
        f'<h2>{escape(title)}</h2>\n<div class="narrow"><table>\n<thead>{first}</thead>\n'
        f"<tbody>\n{''.join(body)}</tbody>\n{last}</table></div>\n"
    )


def _cells(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>\n"
