"""What the Hub's refusals mean, in one message each that says what to do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

from langtailor.errors import HubError

Kind = Literal["model", "dataset"]


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


class NoRepositoryError(HubError):
    """There is no such repository, or the account may not see it."""


def refusal(repository: Repository, response: httpx2.Response) -> HubError | None:
    """The error for a final refusal; ``None`` for other answers, a missing file among them."""
    code, status = response.headers.get("x-error-code"), response.status_code
    message = _message(response)
    if code == "GatedRepo":
        return HubError(_gated(repository, "authorization" in response.request.headers))
    if status == httpx2.codes.UNAUTHORIZED and "credentials" in message.lower():
        return HubError(
            f"the Hub does not know the token in HF_TOKEN; make a new one at {constants.ENDPOINT}/settings/tokens"
        )
    if code == "RepoNotFound" or (status == httpx2.codes.UNAUTHORIZED and code is None):
        return NoRepositoryError(
            f"{repository.page}: there is no such {repository.kind}, or it is private. Check the spelling; for a "
            "private one set HF_TOKEN to a token of an account that may read it"
        )
    if code == "RevisionNotFound":
        return HubError(
            f"{repository.page} has no revision {repository.revision!r}; give a branch, a tag or a full commit hash"
        )
    if response.is_error and code != "EntryNotFound":
        # The client takes some of these for "there is no such file", and would go on without it.
        return HubError(_refused(repository, response, f": {message}" if message else ""))
    return None


def _message(response: httpx2.Response) -> str:
    """What the Hub says of an error, in a header or in the body: of a card that it refuses, each problem."""
    if not response.is_error:
        return ""
    if message := response.headers.get("x-error-message"):
        return str(message)
    try:
        said = json.loads(response.read())
        problems = [problem["message"] for problem in said.get("errors", [])] or [said.get("error", "")]
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""
    return "; ".join(map(str, problems))


def _refused(repository: Repository, response: httpx2.Response, message: str) -> str:
    request, status = response.request, response.status_code
    writes = request.method not in ("GET", "HEAD")
    if status == httpx2.codes.FORBIDDEN and writes and "authorization" in request.headers:
        return (
            f"the token in HF_TOKEN may not write to {repository.page} (403{message}). Allow that at "
            f"{constants.ENDPOINT}/settings/tokens, or name a repository whose owner the account is or belongs to"
        )
    if status == httpx2.codes.FORBIDDEN:
        return f"{place(request)} refuses access to {repository.page} (403{message})"
    if status == httpx2.codes.PRECONDITION_FAILED and writes:
        return f"{repository.page} was changed by somebody else meanwhile; run again"
    return f"{place(request)} answers {status} for {request.url.path}{message}"


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


def explain(repository: Repository, error: Exception) -> str:
    """The message for what the client itself raises."""
    if isinstance(error, OfflineModeIsEnabled):
        return f"{repository.page} is needed, but HF_HUB_OFFLINE is set; unset it, or name a local folder instead"
    if isinstance(error, HFValidationError):
        return f"{repository.name!r} is not a repository name of the Hub, which has the form owner/name"
    return f"{repository.page}: the transfer was interrupted: {reason(error)}. Run again: what was transferred is kept"


def reason(error: Exception) -> str:
    """The first line of what an error says, or its type where it says nothing. No address: it may hold a signature."""
    if isinstance(error, HfHubHTTPError):
        return f"{place(error.response.request)} answers {error.response.status_code}"
    lines = str(error).splitlines()
    return lines[0] if lines and lines[0].strip() else type(error).__name__


def place(request: httpx2.Request) -> str:
    """Where a request went. Not the whole address: that of a redirect may hold a signature."""
    return f"{request.url.scheme}://{request.url.netloc.decode()}"
