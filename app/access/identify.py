"""Step 1, identify: whose request is this?

Rule 1: every wrong key gets the same answer after the same work: one SHA-256 and one comparison. Rule 2: a valid key
is always let in, however many wrong ones came from its address; only failures are told to wait (see `throttle`).
Rule 3: what a foreign web page had a browser send is refused before it counts (see `web_pages`). Rule 4: the
operator's token works from this machine only, unless `remote_admin` is on; what a tunnel or a proxy on this machine
hands on comes from where they say (see `origin`).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping

from app.access.credentials import by_address, presented_key
from app.access.origin import origin
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
        wall_us: Callable[[], int] = wall_us,
    ) -> None:
        """`now_us` is a monotonic clock for failures, `wall_us` the one that keys expire by."""
        self._remote_admin = remote_admin
        self._keys: dict[bytes, Principal] = {}
        self._addresses: dict[bytes, Principal] = {}
        self._throttle = Throttle(now_us)
        self._wall_us = wall_us

    def replace(self, principals: Iterable[Principal]) -> None:
        """Take over the present set of keys; a key that is not in it stops working with the next request."""
        self._keys, self._addresses = {}, {}
        for principal in principals:
            (self._addresses if principal.address else self._keys)[principal.sha256] = principal

    def identify(self, headers: Mapping[str, str], remote: str | None) -> Principal:
        """The principal of a request over a connection from `remote`; Refusal 401, 403 or 429."""
        if from_foreign_page(headers):
            raise foreign_page()
        remote = origin(headers, remote)
        digest = hashlib.sha256(presented_key(headers)).digest()
        found = (self._addresses if by_address(headers) else self._keys).get(digest)
        # The same comparison is made for a key that was not found, so both answers take the same time.
        if not hmac.compare_digest(digest, found.sha256 if found is not None else _NOBODY) or found is None:
            if self._throttle.failed(remote or "?"):
                raise Refusal(
                    429, "too_many_failures", "Too many wrong keys came from this address.", retry_after_s=60
                )
            raise Refusal(401, "invalid_api_key", _SENTENCE)
        if found.limits.expires_us is not None and found.limits.expired(self._wall_us()):
            # Whoever holds it may know why it works no more; nobody else could have guessed it.
            raise Refusal(401, "key_expired", "This key has expired. Ask the contributor for another one.")
        if found.role is Role.OPERATOR and not self._remote_admin() and not is_loopback(remote):
            raise Refusal(
                403,
                "operator_is_local",
                "The operator's token works on the gateway's own machine only, unless remote_admin is on.",
            )
        return found

    def require(self, principal: Principal) -> None:
        """Refusal 401 where the key of a principal that was identified before has been taken away since."""
        if principal.sha256 not in (self._addresses if principal.address else self._keys):
            raise Refusal(401, "invalid_api_key", _SENTENCE)

    def operator(self, headers: Mapping[str, str], remote: str | None) -> Principal:
        """The same, for what only the operator may do; Refusal 403 for everybody else's keys."""
        found = self.identify(headers, remote)
        if found.role is not Role.OPERATOR:
            raise Refusal(403, "operator_only", "Only the gateway's operator may do this.")
        return found

    def viewer(self, headers: Mapping[str, str], remote: str | None) -> str | None:
        """The one log whose figures may be shown, or None for all of them: this machine needs no key for that."""
        if from_foreign_page(headers):
            raise foreign_page()
        if is_loopback(origin(headers, remote)) and names_this_machine(headers):
            return None
        return self.identify(headers, remote).scope
