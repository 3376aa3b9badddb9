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
from typing import Any, Literal

import httpx2
from huggingface_hub import constants, get_session, set_client_factory
from huggingface_hub.errors import FileMetadataError, HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from langtailor.errors import HubError

Kind = Literal["model", "dataset"]

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


@dataclass(frozen=True)
class Repository:
    """A repository of the Hub at a revision.

    Attributes:
        name: ``owner/name``.
        kind: ``model`` or ``dataset``.
        revision: branch, tag or commit.
    """

    name: str
    kind: Kind
    revision: str

    @property
    def page(self) -> str:
        """Address of its page, for people."""
        folder = "datasets/" if self.kind == "dataset" else ""
        return f"{constants.ENDPOINT}/{folder}{self.name}"


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
        raise HubError(_explain(repository, error)) from error
    except OSError as error:
        # Those of the operating system (a full disk) carry a number; the client's own do not.
        if error.errno is not None:
            raise
        raise HubError(_explain(repository, error)) from error
    finally:
        set_client_factory(lambda: httpx2.Client(timeout=standard.timeout, **options))


class _UnavailableError(HubError):
    """The Hub is busy or out of reach for now; ``asked`` are the seconds that it asks to wait, if it does."""

    def __init__(self, message: str, asked: float | None = None) -> None:
        super().__init__(message)
        self.asked = asked


class _PatientClient(httpx2.Client):
    """The Hub's client with a time limit on each request, repeated while the Hub is busy, plain about refusals.

    The client's own repetitions never come into play: it only sees answers that are final.
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
        return self._retrying(self._send_once, request, stream, **options)

    def _send_once(self, request: httpx2.Request, stream: bool, **options: Any) -> httpx2.Response:
        try:
            response = super().send(request, stream=stream, **options)
        except _TRANSIENT as error:
            raise _UnavailableError(f"{_place(request)} cannot be reached ({reason(error)})") from error
        if response.status_code not in _BUSY:
            return self._final(request, response, stream)
        response.close()
        message = f"{_place(request)} answers {response.status_code} ({response.reason_phrase})"
        asked = _asked_wait(response)
        if asked is not None and asked > self._patience.longest_wait:
            raise HubError(f"{message} and asks to wait {asked:,.0f} s; run again after that")
        raise _UnavailableError(message, asked)

    def _final(self, request: httpx2.Request, response: httpx2.Response, stream: bool) -> httpx2.Response:
        if refusal := _refusal(self._repository, response):
            response.close()
            raise HubError(refusal)
        if stream:
            response.stream = _ResumableBody(response.stream)
        elif "range" in request.headers and response.status_code == httpx2.codes.OK:
            response.close()
            raise HubError(f"{_place(request)} sends a whole file for a part of it; use another HF_ENDPOINT or proxy")
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
        f"{_failure(state)}, {state.attempt_number} times in a row. Run again later: what was fetched is kept. If it "
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


def _refusal(repository: Repository, response: httpx2.Response) -> str | None:
    """The message for a final refusal; ``None`` for other answers, a missing file among them."""
    code, status = response.headers.get("x-error-code"), response.status_code
    message = response.headers.get("x-error-message", "")
    if code == "GatedRepo":
        return _gated(repository, "authorization" in response.request.headers)
    if status == httpx2.codes.UNAUTHORIZED and "credentials" in message.lower():
        return f"the Hub does not know the token in HF_TOKEN; make a new one at {constants.ENDPOINT}/settings/tokens"
    if code == "RepoNotFound" or (status == httpx2.codes.UNAUTHORIZED and code is None):
        return (
            f"{repository.page}: there is no such {repository.kind}, or it is private. Check the spelling; for a "
            "private one set HF_TOKEN to a token of an account that may read it"
        )
    if code == "RevisionNotFound":
        return f"{repository.page} has no revision {repository.revision!r}; give a branch, a tag or a whole commit"
    if status == httpx2.codes.FORBIDDEN:
        return f"{_place(response.request)} refuses access to {repository.page} (403{': ' if message else ''}{message})"
    if response.is_error and code != "EntryNotFound":
        # The client takes some of these for "there is no such file", and would go on without it.
        return f"{_place(response.request)} answers {status} for {response.request.url.path}{': ' if message else ''}{message}"
    return None


def _gated(repository: Repository, authenticated: bool) -> str:
    if authenticated:
        return (
            f"{repository.name} is gated, and the account of the token in HF_TOKEN has no access yet: open "
            f"{repository.page}, log in with that account, accept the terms (or wait until the owner agrees) and run "
            "again. A fine-grained token must also be allowed to read gated repositories"
        )
    return (
        f"{repository.name} is gated: open {repository.page}, log in and accept the terms, make a token that may read "
        f"at {constants.ENDPOINT}/settings/tokens, set HF_TOKEN to it and run again"
    )


def _explain(repository: Repository, error: Exception) -> str:
    if isinstance(error, OfflineModeIsEnabled):
        return f"{repository.page} is needed, but HF_HUB_OFFLINE is set; unset it, or name a local folder instead"
    if isinstance(error, HFValidationError):
        return f"{repository.name!r} is no repository name of the Hub, which is written owner/name"
    return f"{repository.page}: fetching broke off: {reason(error)}. Run again: what was fetched is kept"


def reason(error: Exception) -> str:
    """The first line of what an error says, or its type where it says nothing."""
    lines = str(error).splitlines()
    return lines[0] if lines and lines[0].strip() else type(error).__name__


def _place(request: httpx2.Request) -> str:
    """Where a request went. Not the whole address: that of a redirect may hold a signature."""
    return f"{request.url.scheme}://{request.url.netloc.decode()}"
