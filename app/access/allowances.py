"""How fast a key may ask, and all keys of a client together: requests and tokens a minute, and how many at once.

Rule 1: pure but for the clock that is handed in. Rule 2: a minute's allowance is a token bucket: it is full after a
minute of rest and fills evenly, so a key that keeps to its rate is never refused. Rule 3: tokens are guessed before a
request, from the length of its body, and corrected by what the engine counted: a bucket that is overdrawn then is in
debt until it has filled again. Rule 4: whatever ends a request, its place is given back, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

from app.access.limits import Limits
from app.access.principals import Principal
from app.access.rates import KeyRate, openai_headers
from app.access.refusals import Refusal

BYTES_A_TOKEN = 4
"""Text has some four bytes a token; a picture many more, and what it was is corrected afterwards."""
KEYS_REMEMBERED = 1024
TRY_AGAIN_S = 2
_MINUTE_US = 60_000_000


class _Bucket:
    """`most` a minute. The level is kept in millionths of a minute's share, so nothing is ever rounded."""

    __slots__ = ("_at_us", "_level", "most")

    def __init__(self, most: int, now_us: int) -> None:
        self.most = most
        self._level = most * _MINUTE_US
        self._at_us = now_us

    def resize(self, most: int, now_us: int) -> None:
        """Another rate from now on; what was used stays used."""
        self.fill(now_us)
        self._level += (most - self.most) * _MINUTE_US
        self.most = most

    def fill(self, now_us: int) -> None:
        full = self.most * _MINUTE_US
        self._level = min(full, self._level + max(0, now_us - self._at_us) * self.most)
        self._at_us = now_us

    def take(self, amount: int) -> None:
        """May be less than nothing: what turned out to be too much is given back."""
        self._level = min(self.most * _MINUTE_US, self._level - amount * _MINUTE_US)

    def wait_us(self, amount: int) -> int:
        """How long until `amount` is there; what is more than a whole minute's is let in when the bucket is full."""
        missing = min(amount, self.most) * _MINUTE_US - self._level
        return -(-missing // self.most) if missing > 0 else 0

    @property
    def remaining(self) -> int:
        """Whole ones that are there."""
        return max(0, self._level // _MINUTE_US)

    @property
    def full_in_us(self) -> int:
        """How long until it is full."""
        return -(-(self.most * _MINUTE_US - self._level) // self.most)


class _Usage:
    """What one key, or one client, has used lately."""

    __slots__ = ("requests", "running", "tokens")

    def __init__(self) -> None:
        self.running = 0
        self.requests: _Bucket | None = None
        self.tokens: _Bucket | None = None

    def follow(self, limits: Limits, now_us: int) -> None:
        """The buckets as `limits` has them, filled up to now."""
        self.requests = _adapted(self.requests, limits.requests_per_minute, now_us)
        self.tokens = _adapted(self.tokens, limits.tokens_per_minute, now_us)

    def idle(self, now_us: int) -> bool:
        """Whether forgetting it changes nothing."""
        for bucket in (self.requests, self.tokens):
            if bucket is not None:
                bucket.fill(now_us)
                if bucket.full_in_us:
                    return False
        return not self.running


class Grant:
    """One request's place. `with` it; what is not said to count was never asked of the engine, and is given back.
    `rates` are what its answer says of them, as they were when it was granted."""

    __slots__ = ("_counts", "_guess", "_usages", "rates")

    def __init__(self, usages: Sequence[_Usage], guess: int, rates: tuple[KeyRate, ...]) -> None:
        self._usages = usages
        self._guess = guess
        self._counts = False
        self.rates = rates

    @property
    def headers(self) -> dict[str, str]:
        """The rates as every answer has them; a dialect may have further names for them."""
        return openai_headers(self.rates) if self.rates else {}

    def counts(self, tokens: int | None) -> None:
        """The engine was asked; so many tokens went in and came out, or None where nobody counted."""
        self._counts = True
        if tokens is not None:
            self._correct(tokens)

    def _correct(self, tokens: int) -> None:
        for usage in self._usages:
            if usage.tokens is not None:
                usage.tokens.take(tokens - self._guess)
        self._guess = tokens

    def __enter__(self) -> Grant:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._usages:
            return
        if not self._counts:
            self._correct(0)
        for usage in self._usages:
            if not self._counts and usage.requests is not None:
                usage.requests.take(-1)
            usage.running -= 1
        self._usages = ()


class Allowances:
    """The rates of all keys and clients. `now_us` is a monotonic clock."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._known: dict[str, _Usage] = {}

    def __len__(self) -> int:
        return len(self._known)

    def take(self, principal: Principal, body_b: int) -> Grant:
        """A place for a request of `principal` with a body of `body_b` bytes; Refusal 429 where there is none now."""
        own, shared = principal.limits, principal.shared
        if not (own.rated or shared.rated):
            return Grant((), 0, ())
        now_us = self._now_us()
        guess = max(1, body_b // BYTES_A_TOKEN)
        limited: list[tuple[str, Limits, _Usage]] = []
        if own.rated:
            limited.append(("This key", own, self._usage(principal.key, own, now_us)))
        if shared.rated:
            # No id of a key has a blank in it.
            limited.append(("This client", shared, self._usage("client " + principal.log, shared, now_us)))
        usages = tuple(usage for _, _, usage in limited)
        for who, limits, usage in limited:
            _require(who, limits, usage, guess, usages)
        for usage in usages:
            usage.running += 1
            if usage.requests is not None:
                usage.requests.take(1)
            if usage.tokens is not None:
                usage.tokens.take(guess)
        return Grant(usages, guess, _rates(usages))

    def _usage(self, whose: str, limits: Limits, now_us: int) -> _Usage:
        usage = self._known.get(whose)
        if usage is None:
            if len(self._known) >= KEYS_REMEMBERED:
                self._known = {name: kept for name, kept in self._known.items() if not kept.idle(now_us)}
            usage = self._known[whose] = _Usage()
        usage.follow(limits, now_us)
        return usage


def _require(who: str, limits: Limits, usage: _Usage, guess: int, usages: Sequence[_Usage]) -> None:
    waits = {
        f"{who} may ask {limits.requests_per_minute} times a minute": usage.requests
        and usage.requests.wait_us(1),
        f"{who} may use {limits.tokens_per_minute} tokens a minute": usage.tokens
        and usage.tokens.wait_us(guess),
    }
    sentence, wait_us = max(waits.items(), key=lambda item: item[1] or 0)
    if wait_us:
        wait_s = -(-wait_us // 1_000_000)
        raise Refusal(
            429,
            "rate_limited",
            f"{sentence}: try again in {wait_s} s.",
            retry_after_s=wait_s,
            rates=_rates(usages),
        )
    if limits.concurrent is not None and usage.running >= limits.concurrent:
        what = "one request" if limits.concurrent == 1 else f"{limits.concurrent} requests"
        raise Refusal(
            429,
            "too_many_at_once",
            f"{who} may have {what} running at a time: try again when one has ended.",
            retry_after_s=TRY_AGAIN_S,
            rates=_rates(usages),
        )


def _adapted(bucket: _Bucket | None, most: int | None, now_us: int) -> _Bucket | None:
    if most is None:
        return None
    if bucket is None:
        return _Bucket(most, now_us)
    if bucket.most == most:
        bucket.fill(now_us)
    else:
        bucket.resize(most, now_us)
    return bucket


def _rates(usages: Sequence[_Usage]) -> tuple[KeyRate, ...]:
    """Of a key's rate and its client's, the one that is nearer to its end."""
    kinds = (
        ("requests", [usage.requests for usage in usages if usage.requests is not None]),
        ("tokens", [usage.tokens for usage in usages if usage.tokens is not None]),
    )
    rates = []
    for what, buckets in kinds:
        if buckets:
            bucket = min(buckets, key=lambda bucket: bucket.remaining)
            rates.append(KeyRate(what, bucket.most, bucket.remaining, bucket.full_in_us))
    return tuple(rates)
