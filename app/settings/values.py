"""Reading one value the way people write it.

Rule 1: a reader takes what a file, an environment, a JSON body or a slider gives and returns the one typed value,
or raises ValueError; its text is a hint for the person, empty where «must be …» says it all.
Rule 2: no guessing. «0,15» and «$10» are refused with a hint, because a wrong guess is a wrong bill.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlsplit

from app.basics.figures import plain_digits
from app.basics.zones import zone_named
from app.settings.currencies import CURRENCIES

MASK = "********"
"""Stands for a secret wherever settings are shown."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,30}", re.ASCII)
_FIELD = re.compile("[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,254}", re.ASCII)
_IMAGE = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*(?::\d{1,5})?(?:/[a-z0-9][a-z0-9._-]*)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_DAEMON = re.compile(r"(?:unix|npipe)://\S+|(?:tcp|http|https)://[^\s/]+", re.ASCII)
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", re.ASCII)
_PART = re.compile(r"\{(\w*)\}", re.ASCII)
TEMPLATE_PARTS = (
    "id",
    "timestamp",
    "model",
    "prompt_tokens",
    "completion_tokens",
    "tokens",
    "cost",
    "secret",
)
"""What the template of the seed's hash may name; `ledger.seed_form`, which fills it in, has the same."""
_TRUE = frozenset({"true", "yes", "on", "1", "t", "y"})
_FALSE = frozenset({"false", "no", "off", "0", "f", "n"})
_LARGEST_EXPONENT = 30


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to read a value: `name` for the faces (number, whole, flag, choice, host, hosts, url, model, models,
    image, daemon, ports, currency, zone, price_hours, days, prices, gpus, entity, secret), `says` what is allowed,
    before any bounds."""

    name: str
    says: str
    read: Callable[[object], object]

    @property
    def secret(self) -> bool:
        """Values of it are never shown."""
        return self.name == "secret"


def _exact(value: object) -> Decimal:
    """A finite decimal number, exactly as written."""
    if isinstance(value, bool):
        raise ValueError("")
    if isinstance(value, str):
        text = value.strip()
        if len(text) > 64 or not _NUMBER.fullmatch(text):
            raise ValueError(_number_hint(text))
        value = text
    elif isinstance(value, float):
        # repr is the shortest text that gives this float: 0.1 stays 0.1.
        value = repr(value)
    elif not isinstance(value, int | Decimal):
        raise ValueError("")
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError("")
    if number.adjusted() > _LARGEST_EXPONENT:
        raise ValueError("")
    return number


def _number_hint(text: str) -> str:
    if "," in text:
        return "use a point for decimals and nothing between thousands, as in 0.15 or 1000"
    if any(character.isdigit() for character in text):
        return "write the bare number, without a unit or a currency sign"
    return ""


def _decimal(places: int) -> Callable[[object], object]:
    def read(value: object) -> Decimal:
        number = _exact(value)
        if not number:
            return Decimal(0)
        # Before anything spells it out: 1e-99999999 is a short text with a long number in it.
        if number.adjusted() < -places:
            raise ValueError("")
        # Canonical digits: 10.00 and 1E+1 are both written 10.
        text = format(number, "f")
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        if len(text.partition(".")[2]) > places:
            raise ValueError("")
        return Decimal(text)

    return read


def _float(value: object) -> float:
    return float(_exact(value))


def _whole(value: object) -> int:
    if isinstance(value, bool):
        raise ValueError("")
    if isinstance(value, int):
        return value
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        raise ValueError(_number_hint(value.strip()))
    raise ValueError("")


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return value == 1
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    raise ValueError("")


def _text(value: object, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError("")
    if not value.isprintable():
        raise ValueError("it holds a line break or another character that cannot be printed")
    return value


def _secret(value: object) -> str:
    text = _text(value, 1024)
    if text == MASK:
        raise ValueError("the asterisks only stand for it, so write the secret itself")
    return text


def _template(value: object) -> str:
    text = _text(value, 256)
    named = _PART.findall(text)
    for name in named:
        if name not in TEMPLATE_PARTS:
            raise ValueError(f"{{{name}}} is none of {', '.join(f'{{{part}}}' for part in TEMPLATE_PARTS)}")
    for needed in ("id", "secret"):
        if needed not in named:
            raise ValueError(f"{{{needed}}} must stand in it")
    return text


def _database(value: object) -> str:
    text = _text(value, 1024).strip()
    if text and not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("it must begin with postgresql://")
    return text


def _lower(value: object) -> str:
    return _text(value, 64).strip().lower()


def _upper(value: object) -> str:
    return _text(value, 64).strip().upper()


def _currency(value: object) -> str:
    code = _upper(value)
    if code not in CURRENCIES:
        raise ValueError("")
    return code


def is_host(text: str) -> bool:
    """True for an IP address or a host name that could exist (underscores too: they are common on home networks)."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        labels = text.removesuffix(".").split(".")
        return len(text) <= 253 and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()
    return True


def _host(value: object) -> str:
    text = _text(value, 300).strip()
    if "/" in text:
        raise ValueError("leave out http:// and anything after the name")
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    if not is_host(text):
        has_port = text.count(":") == 1 and text.rpartition(":")[2].isdigit()
        raise ValueError("the port is a setting of its own" if has_port else "")
    return text


def _url(value: object) -> str:
    """An absolute http or https address whose host and port could exist."""
    text = _text(value, 2048).strip()
    if " " in text or "\\" in text:
        raise ValueError("it holds a space or a backslash")
    if "://" not in text:
        raise ValueError("put http:// or https:// in front")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("its host or port cannot be read") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("it must begin with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("leave out the user name and password")
    if not is_host(parts.hostname or "") or port == 0:
        raise ValueError("its host or port cannot be read")
    if "#" in text:
        raise ValueError("leave out the # and what follows it")
    return text


def _base_url(value: object) -> str:
    text = _url(value)
    if "?" in text:
        raise ValueError("leave out the ? and what follows it")
    return text.rstrip("/")


def _optional_url(value: object) -> str:
    return "" if value == "" else _url(value)


def _models(value: object) -> tuple[str, ...]:
    """Names from a list, or from a text with commas; a name given twice counts once."""
    names = []
    for name in items(value):
        if not isinstance(name, str) or not _MODEL.fullmatch(name):
            raise ValueError(f"{shown(name)} is not a model's name")
        names.append(name)
    return tuple(dict.fromkeys(names))


def items(value: object) -> list[object]:
    """The items of a list, or of a text with commas."""
    if isinstance(value, str):
        return [item for item in map(str.strip, value.split(",")) if item]
    if not isinstance(value, list | tuple):
        raise ValueError("")
    return list(value)


def _model(value: object) -> str:
    text = _text(value, 255).strip()
    if text and not _MODEL.fullmatch(text):
        raise ValueError("")
    return text


def _image(value: object) -> str:
    text = _text(value, 512).strip()
    if text and not _IMAGE.fullmatch(text):
        raise ValueError("")
    return text


def _daemon(value: object) -> str:
    text = _text(value, 1024).strip()
    if text and not _DAEMON.fullmatch(text):
        raise ValueError("")
    return text


def _ports(value: object) -> tuple[int, ...]:
    """Ports from a list, or from a text with commas; a port given twice counts once."""
    ports = [_whole(item) for item in items(value)]
    for port in ports:
        if not 1 <= port <= 65535:
            raise ValueError(f"{shown(port)} is not a port")
    return tuple(dict.fromkeys(ports))


def _hosts(value: object) -> tuple[str, ...]:
    """Host names, each may begin with `*.` for everything below it; lower case, because hosts have none."""
    hosts = []
    for item in items(value):
        host = _text(item, 255).lower()
        if not is_host(host.removeprefix("*.")):
            raise ValueError(f"{shown(host)} is not a host's name")
        hosts.append(host)
    return tuple(dict.fromkeys(hosts))


def _fields(value: object) -> tuple[str, ...]:
    """Names of fields in a request's body, as they are spelled there."""
    names = [_text(item, 64) for item in items(value)]
    for name in names:
        if not _FIELD.fullmatch(name):
            raise ValueError(f"{shown(name)} is not a field's name")
    return tuple(dict.fromkeys(names))


def _zone(value: object) -> str:
    text = _text(value, 64).strip()
    if text and zone_named(text) is None:
        raise ValueError("there is no time zone of that name")
    return text


NUMBER = Kind("number", "a number", _float)
MONEY = Kind("number", "a number with at most 12 decimals", _decimal(12))
RATIO = Kind("number", "a number with at most 6 decimals", _decimal(6))
WHOLE = Kind("whole", "a whole number", _whole)
FLAG = Kind("flag", "true or false", _flag)
CHOICE = Kind("choice", "", _lower)
LEVEL = Kind("choice", "", _upper)
CURRENCY = Kind("currency", "a currency's three letters as in ISO 4217, such as USD or EUR", _currency)
HOST = Kind("host", "an IP address or a host name, such as 127.0.0.1", _host)
BASE_URL = Kind("url", "an address such as http://127.0.0.1:11434", _base_url)
OPTIONAL_URL = Kind("url", "an address such as https://gpu.example.org, or empty", _optional_url)
CALLBACK = Kind("url", "an address such as http://192.168.1.5:8435/transaction, or empty", _optional_url)
MODELS = Kind(
    "models", "model names separated by commas, such as llama3.1:8b, qwen2.5:3b, or empty for all", _models
)
MODEL = Kind("model", "a model's name, such as llama3.1:8b, or empty", _model)
IMAGE = Kind("image", "an image's name, such as ollama/ollama:latest, or empty", _image)
DAEMON = Kind("daemon", "an address such as unix:///var/run/docker.sock, or empty", _daemon)
PORTS = Kind("ports", "ports separated by commas, such as 8080, 5001, or empty", _ports)
HOSTS = Kind(
    "hosts", "host names separated by commas, such as huggingface.co, *.hf.co, or empty for none", _hosts
)
FIELDS = Kind(
    "fields", "names of fields separated by commas, such as top_a, min_tokens, or empty for none", _fields
)
SECRET = Kind("secret", "one line of at most 1024 characters", _secret)
TEMPLATE = Kind(
    "template", "what is hashed, such as {id}{tokens}{cost}{secret}, with {id} and {secret} in it", _template
)
ZONE = Kind("zone", "a time zone's name, such as Europe/Berlin, or empty for this machine's", _zone)
LINE = Kind("line", "one line of at most 256 characters", lambda value: _text(value, 256))
DATABASE = Kind("secret", "an address such as postgresql://user:password@host/name, or empty", _database)


def shown(value: object) -> str:
    """`value` for a sentence or a table: short, on one line, numbers without idle zeros."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return plain_digits(value) if 1e-20 < abs(value) < 1e20 or value == 0 else str(value)
    if isinstance(value, Decimal):
        return format(value, "f") if abs(value.adjusted()) <= _LARGEST_EXPONENT else str(value)
    if value is None:
        return "nothing"
    if isinstance(value, tuple):
        value = list(value)
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= 80 else text[:60] + "…" + text[-1]


def as_json(value: object) -> object:
    """`value` for a JSON body: a number where a float says it exactly, otherwise its digits as a string."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, Decimal):
        if value == value.to_integral_value():
            return int(value)
        return float(value) if Decimal(repr(float(value))) == value else format(value, "f")
    return value
