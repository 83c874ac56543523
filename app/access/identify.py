"""Step 1, identify: whose request is this?

Rule 1: every key that opens nothing, whether it is wrong, revoked or expired, gets the same answer after the same work:
one SHA-256 and one comparison. Rule 2: a valid key is always let in, however many wrong ones came from its address;
only failures are told to wait (see `throttle`). Rule 3: what a foreign web page had a browser send is refused before it
counts (see `web_pages`). Rule 4: the operator's token works from this machine only, unless `remote_admin` is on; what a
tunnel or a proxy hands on comes from where they say (see `origin`).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping

from app.access.credentials import by_address, presented_key
from app.access.origin import is_proxy, networks, origin
from app.access.principals import Principal, Role
from app.access.refusals import Refusal, foreign_page
from app.access.throttle import Throttle
from app.access.web_pages import from_foreign_page, names_this_machine
from app.basics.addresses import is_loopback
from app.basics.clock import wall_us

_NOBODY = bytes(32)
_SENTENCE = "The key is missing or not valid here. Send it as «Authorization: Bearer mg_…»."


class Access:
    """The keys that work now, and the addresses that tried too many that did not."""

    def __init__(
        self,
        now_us: Callable[[], int],
        *,
        remote_admin: Callable[[], bool],
        proxies: Callable[[], tuple[str, ...]] = tuple,
        pages: Callable[[], tuple[str, ...]] = tuple,
        wall_us: Callable[[], int] = wall_us,
    ) -> None:
        """`now_us` is a monotonic clock for failures, `wall_us` the one that keys expire by; `proxies` the networks of
        those that are believed, `pages` the origins of web pages that may ask."""
        self._remote_admin = remote_admin
        self._proxies = proxies
        self._pages = pages
        self._keys: dict[bytes, Principal] = {}
        self._addresses: dict[bytes, Principal] = {}
        self._throttle = Throttle(now_us)
        self._wall_us = wall_us

    def replace(self, principals: Iterable[Principal]) -> None:
        """Take over the present set of keys; a key that is not in it stops working with the next request."""
        self._keys, self._addresses = {}, {}
        for principal in principals:
            (self._addresses if principal.address else self._keys)[principal.sha256] = principal

    def origin(self, headers: Mapping[str, str], remote: str | None) -> str | None:
        """The address that a request over a connection from `remote` counts as coming from."""
        return origin(headers, remote, networks(self._proxies()))

    def is_proxy(self, remote: str) -> bool:
        """Whether connections from `remote` bring the requests of many."""
        return is_proxy(remote, networks(self._proxies()))

    def known(self, headers: Mapping[str, str]) -> Principal | None:
        """Whose key a request carries, whether or not it opens anything; counts nothing and refuses nothing."""
        digest = hashlib.sha256(presented_key(headers)).digest()
        return (self._addresses if by_address(headers) else self._keys).get(digest)

    def identify(self, headers: Mapping[str, str], remote: str | None) -> Principal:
        """The principal of a request over a connection from `remote`; Refusal 401, 403 or 429."""
        if from_foreign_page(headers, self._pages()):
            raise foreign_page()
        remote = self.origin(headers, remote)
        digest = hashlib.sha256(presented_key(headers)).digest()
        found = (self._addresses if by_address(headers) else self._keys).get(digest)
        # The same comparison is made for a key that was not found, so both answers take the same time.
        same = hmac.compare_digest(digest, found.sha256 if found is not None else _NOBODY)
        if found is None or not same or self._is_over(found):
            if self._throttle.failed(remote or "?"):
                raise Refusal(
                    429, "too_many_failures", "Too many wrong keys came from this address.", retry_after_s=60
                )
            raise Refusal(401, "invalid_api_key", _SENTENCE)
        if found.role is Role.OPERATOR and not self._remote_admin() and not is_loopback(remote):
            raise Refusal(
                403,
                "operator_is_local",
                "The operator's token works on the gateway's own machine only, unless remote_admin is on.",
            )
        return found

    def _is_over(self, principal: Principal) -> bool:
        return principal.ends and principal.expired(self._wall_us())

    def require(self, principal: Principal) -> None:
        """Refusal 401 where the key of a principal that was identified before has been taken away since."""
        if principal.sha256 not in (self._addresses if principal.address else self._keys):
            raise Refusal(401, "invalid_api_key", _SENTENCE)

    def operator(self, headers: Mapping[str, str], remote: str | None) -> Principal:
        """The same, for what only the operator may do; Refusal 403 for everybody else's keys and pages."""
        if from_foreign_page(headers):
            raise foreign_page()
        found = self.identify(headers, remote)
        if found.role is not Role.OPERATOR:
            raise Refusal(403, "operator_only", "Only the gateway's operator may do this.")
        return found

    def viewer(self, headers: Mapping[str, str], remote: str | None) -> str | None:
        """The one log whose figures may be shown, or None for all of them: this machine needs no key for that."""
        foreign = from_foreign_page(headers)
        if not foreign and is_loopback(self.origin(headers, remote)) and names_this_machine(headers):
            return None
        return self.identify(headers, remote).scope
