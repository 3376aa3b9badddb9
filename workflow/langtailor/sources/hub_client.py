"""The Hub's ordinary client (https://huggingface.co/docs/hub), with patience and plain answers.

The client of ``huggingface_hub`` does the work, under its usual variables: ``HF_ENDPOINT``, ``HF_TOKEN``,
``HF_HUB_OFFLINE``, proxies. Added here are the ends: how often and how long to try again, a time limit on every
request, and one clear message for each refusal.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
from huggingface_hub import get_session, set_client_factory
from huggingface_hub.errors import FileMetadataError, HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from langtailor.errors import HubError
from langtailor.sources.hub_refusals import Repository, explain, place, reason, refusal

_LOG = logging.getLogger("langtailor")
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
#: A rate limit of which nothing remains, and the seconds until it is reset
#: (https://www.ietf.org/archive/id/draft-ietf-httpapi-ratelimit-headers-09.html).
_NO_REQUEST_LEFT = re.compile(r";\s*r=0\s*;\s*t=(\d+)")
_TRANSIENT = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.ProxyError)


@dataclass(frozen=True)
class Patience:
    """How long to put up with a Hub that is busy or out of reach.

    Attributes:
        attempts: how often one request is tried in all.
        first_wait: seconds before the second attempt; doubled for each further one.
        longest_wait: seconds that one wait may last; a Hub that asks for more is not waited for.
        timeout: seconds without a byte after which a connection counts as broken.
    """

    attempts: int = 5
    first_wait: float = 1.0
    longest_wait: float = 300.0
    timeout: float = 30.0


PATIENCE = Patience()


@contextmanager
def hub_session(repository: Repository, patience: Patience = PATIENCE) -> Iterator[None]:
    """Everything that the body asks of the Hub, also through ``datasets`` or ``HfFileSystem``, is about ``repository``.

    The body must not open another session.

    Raises:
        HubError: instead of whatever the client raises.
    """
    standard = get_session()
    options: dict[str, Any] = {"event_hooks": standard.event_hooks, "follow_redirects": standard.follow_redirects}
    set_client_factory(lambda: _PatientClient(repository, patience, **options))
    try:
        yield
    except (HfHubHTTPError, HFValidationError, FileMetadataError, OfflineModeIsEnabled, httpx2.HTTPError) as error:
        raise HubError(explain(repository, error)) from error
    except OSError as error:
        # Those of the operating system (a full disk) carry a number; the client's own do not.
        if error.errno is not None:
            raise
        raise HubError(explain(repository, error)) from error
    finally:
        set_client_factory(lambda: httpx2.Client(timeout=standard.timeout, **options))


class _UnavailableError(HubError):
    """The Hub is busy or out of reach for now; ``asked`` are the seconds that it asks to wait, if it does."""

    def __init__(self, message: str, asked: float | None = None) -> None:
        super().__init__(message)
        self.asked = asked


class _PatientClient(httpx2.Client):
    """The Hub's client with a time limit on each request, repeated while the Hub is busy, plain about refusals.

    The client's own repetitions come into play only where a file is sent, which it rewinds before each of them; of all else
    it sees answers that are final.
    """

    def __init__(self, repository: Repository, patience: Patience, **options: Any) -> None:
        super().__init__(**options)
        self._repository, self._patience = repository, patience
        backoff = wait_exponential(multiplier=patience.first_wait, max=patience.longest_wait)
        self._retrying = Retrying(
            retry=retry_if_exception_type(_UnavailableError),
            stop=stop_after_attempt(patience.attempts),
            wait=lambda state: backoff(state) if (asked := _failure(state).asked) is None else asked,
            before_sleep=_announce,
            retry_error_callback=_give_up,
        )

    def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        limits = request.extensions.get("timeout", {})
        bounded = {key: limits.get(key) or self._patience.timeout for key in ("connect", "read", "write", "pool")}
        request.extensions = {**request.extensions, "timeout": bounded}
        if not isinstance(request.stream, httpx2.ByteStream):  # a file, which this request reads once
            response = super().send(request, stream=stream, **options)
            return response if response.status_code in _BUSY else self._final(request, response, stream)
        return self._retrying(self._send_once, request, stream, **options)

    def _send_once(self, request: httpx2.Request, stream: bool, **options: Any) -> httpx2.Response:
        try:
            response = super().send(request, stream=stream, **options)
        except _TRANSIENT as error:
            raise _UnavailableError(f"{place(request)} cannot be reached ({reason(error)})") from error
        if response.status_code not in _BUSY:
            return self._final(request, response, stream)
        response.close()
        message = f"{place(request)} answers {response.status_code} ({response.reason_phrase})"
        asked = _asked_wait(response)
        if asked is not None and asked > self._patience.longest_wait:
            raise HubError(f"{message} and asks to wait {asked:,.0f} s; run again after that")
        raise _UnavailableError(message, asked)

    def _final(self, request: httpx2.Request, response: httpx2.Response, stream: bool) -> httpx2.Response:
        if refused := refusal(self._repository, response):
            response.close()
            raise refused
        if stream:
            response.stream = _ResumableBody(response.stream)
        elif "range" in request.headers and response.status_code == httpx2.codes.OK:
            response.close()
            raise HubError(f"{place(request)} sends a whole file for a part of it; use another HF_ENDPOINT or proxy")
        return response


class _ResumableBody(httpx2.SyncByteStream):
    """A body whose connection reset looks like an early end: the client resumes after that, but not after a reset."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._body
        except httpx2.NetworkError as error:
            raise httpx2.RemoteProtocolError(reason(error)) from error

    def close(self) -> None:
        self._body.close()


def _failure(state: RetryCallState) -> _UnavailableError:
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, _UnavailableError)
    return error


def _announce(state: RetryCallState) -> None:
    _LOG.warning("%s; attempt %d follows in %.0f s", _failure(state), state.attempt_number + 1, state.upcoming_sleep)


def _give_up(state: RetryCallState) -> httpx2.Response:
    raise HubError(
        f"{_failure(state)}, {state.attempt_number} times in a row. Run again later: what was transferred is kept. If it "
        "cannot be reached, check network, proxy and HF_ENDPOINT; if it is busy, set HF_TOKEN: with a token the Hub "
        "allows more requests"
    ) from _failure(state)


def _asked_wait(response: httpx2.Response) -> float | None:
    """Seconds that the Hub asks to wait, from ``Retry-After`` (RFC 9110, 10.2.3) or its rate limit headers."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    if value:
        try:
            return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
        except (TypeError, ValueError):
            return None
    exhausted = _NO_REQUEST_LEFT.search(response.headers.get("ratelimit", ""))
    return float(exhausted[1]) if exhausted else None
