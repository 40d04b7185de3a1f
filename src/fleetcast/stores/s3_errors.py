"""What an S3-compatible store, or the way to it, has against a request, as errors of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from fleetcast.model.errors import FleetcastError, Unavailable
from fleetcast.stores.s3_address import S3Address

MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound"})
NO_UPLOAD: Final = "NoSuchUpload"
EXISTS: Final = frozenset({"412", "PreconditionFailed"})
BAD_PARTS: Final = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall"})
_ELSEWHERE: Final = frozenset(
    {"PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)


def code_of(error: ClientError) -> str:
    """The store's own word for it; a HEAD has only a status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def store_errors(address: S3Address, action: str) -> Iterator[None]:
    """Turns what the client raises into :class:`Unavailable`: the store's answers that mean something are looked at before."""
    try:
        yield
    except ClientError as error:
        raise _answered(address, action, error) from error
    except BotoCoreError as error:
        # Not all of these are lost connections: credentials or a region that cannot be found are among them.
        message = f"cannot {action} in {address}: {_line(error)}: is it up, are URL and credentials right? try again"
        raise Unavailable("bucket_unreachable", message) from error


def _answered(address: S3Address, action: str, error: ClientError) -> FleetcastError:
    code, status = code_of(error), status_of(error)
    said = f"cannot {action} in {address}: it answered {status} {code}"
    if code == "NoSuchBucket":
        return Unavailable("bucket_unusable", f"{said}: make the bucket, or correct store_url")
    if code in _ELSEWHERE:
        return Unavailable("bucket_unusable", f"{said}: name the bucket's own region in store_url (region=NAME)")
    if status in (401, 403):
        return Unavailable("bucket_unusable", f"{said}: check the credentials, what they may do, and this host's clock")
    if status == 501:
        return Unavailable("bucket_unusable", f"{said}: this store lacks what is needed, see docs/operations.md")
    if status >= 500 or status in (408, 409, 429):
        return Unavailable("bucket_unavailable", f"{said} (try again)")
    return Unavailable("bucket_unusable", f"{said}: {_line(error)}: look after the store, then try again")


def _line(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:300]
