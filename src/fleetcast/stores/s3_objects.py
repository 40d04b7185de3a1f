"""A bucket of an S3-compatible store, synchronously: requests by botocore, bulk data by presigned URLs.

An upload is the store's own multipart upload, so an object that is there is whole. Parts and reads travel by the URLs that are
granted to others too: straight between a socket and the caller's buffer, which the client's own way would copy.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from fleetcast.model.errors import Conflict, Invalid, NotFound, Unavailable, Unprocessable
from fleetcast.model.limits import HTTP_TIMEOUT_S, S3_ATTEMPTS_MAX, S3_CONNECT_S_MAX, S3_CONNECTIONS_MAX, S3_PAGE
from fleetcast.model.messages.grants import Grant, PartReceipt
from fleetcast.stores.blob_files import no_blob
from fleetcast.stores.blobs import BlobStat, OpenUpload, check_key, checked_size, no_upload
from fleetcast.stores.s3_address import S3Address
from fleetcast.stores.s3_credentials import S3Credentials
from fleetcast.stores.s3_errors import BAD_PARTS, EXISTS, MISSING, NO_UPLOAD, code_of, store_errors

_UPLOAD: Final = re.compile(r"[!-~]{1,1024}")
_DEFAULT_REGION: Final = "us-east-1"


class S3Objects:
    """Safe to use from many threads; every call may wait for the store. Nothing is asked of it before the first one.

    All raise :class:`Invalid` for an illegal key and :class:`Unavailable` when the store cannot be reached or used.
    """

    def __init__(self, address: S3Address, credentials: S3Credentials | None) -> None:
        self.address = address
        self._credentials = credentials
        self._lock = threading.Lock()
        self._made: Any = None

    def close(self) -> None:
        with self._lock:
            if self._made is not None:
                self._made.close()
                self._made = None

    def stat(self, key: str) -> BlobStat | None:
        named = self._named(key)
        with store_errors(self.address, f"look at {key}"):
            try:
                return BlobStat(key, int(self._client().head_object(**named)["ContentLength"]))
            except ClientError as error:
                if code_of(error) in MISSING:
                    return None
                raise

    def put(self, key: str, data: bytes) -> None:
        """A whole small object, made only if there is none. Raises :class:`Conflict` when the key has one of another size."""
        if self.create(key, data):
            return
        there = self.stat(key)
        if there is None:  # deleted in between, or a store that is not of one mind
            raise Unavailable("bucket_unavailable", f"{self.address} has {key} and has it not: try again")
        if there.size != len(data):
            raise Conflict("blob_exists", f"{key} exists with {there.size} bytes, not {len(data)}: blobs are never overwritten")

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object where there is none. False: there is one, which stays."""
        named = self._named(key)
        with store_errors(self.address, f"write {key}"):
            try:
                self._client().put_object(**named, Body=data, IfNoneMatch="*", ContentType="application/octet-stream")
            except ClientError as error:
                if code_of(error) in EXISTS:
                    return False
                raise
        return True

    def delete(self, key: str) -> None:
        named = self._named(key)
        with store_errors(self.address, f"delete {key}"):
            try:
                self._client().delete_object(**named)
            except ClientError as error:
                if code_of(error) not in MISSING:
                    raise

    def walk(self, prefix: str) -> Iterator[BlobStat]:
        """Every object whose key starts with ``prefix``, in key order, which is the store's."""
        with store_errors(self.address, "list"):
            pages = self._client().get_paginator("list_objects_v2")
            pages = pages.paginate(
                Bucket=self.address.bucket, Prefix=self._above + prefix, PaginationConfig={"PageSize": S3_PAGE}
            )
            for page in pages:
                for each in page.get("Contents", ()):
                    yield BlobStat(each["Key"].removeprefix(self._above), int(each["Size"]))

    def begin(self, key: str) -> str:
        named = self._named(key)
        with store_errors(self.address, f"begin an upload of {key}"):
            return str(self._client().create_multipart_upload(**named, ContentType="application/octet-stream")["UploadId"])

    def parts(self, key: str, upload: str) -> tuple[PartReceipt, ...]:
        """By number. Raises :class:`NotFound` when the upload is not open."""
        named = self._upload(key, upload)
        with store_errors(self.address, f"look at an upload of {key}"):
            try:
                pages = self._client().get_paginator("list_parts").paginate(**named, PaginationConfig={"PageSize": S3_PAGE})
                found = [part for page in pages for part in page.get("Parts", ())]
            except ClientError as error:
                if code_of(error) == NO_UPLOAD:
                    raise no_upload(upload) from None
                raise
        return tuple(PartReceipt(int(part["PartNumber"]), int(part["Size"]), part["ETag"].strip('"')) for part in found)

    def complete(self, key: str, upload: str, parts: Sequence[PartReceipt], part_bytes: int) -> BlobStat:
        """As :meth:`BlobStore.complete`.

        Admitted: where a store ignores the condition of a completion, the later of two at the same moment wins.
        """
        try:
            checked_size(key, part_bytes, self.parts(key, upload), parts)
            if not parts:  # a store completes none of these
                self.create(key, b"")
            first = bool(parts) and self.stat(key) is None and self._complete(key, upload, parts)
        except NotFound:
            there = self.stat(key)  # completed before, perhaps by somebody who was killed on the way out
            if there is None:
                raise
            return there
        if not first:
            self.abort(key, upload)
        there = self.stat(key)
        if there is None:  # deleted in this very moment
            raise no_blob(key)
        return there

    def abort(self, key: str, upload: str) -> None:
        """Nothing happens when it is gone, or is another key's."""
        try:
            named = self._upload(key, upload)
        except NotFound:
            return
        with store_errors(self.address, f"drop an upload of {key}"):
            try:
                self._client().abort_multipart_upload(**named)
            except ClientError as error:
                if code_of(error) not in (NO_UPLOAD, *MISSING):
                    raise

    def uploads(self, prefix: str) -> tuple[OpenUpload, ...]:
        with store_errors(self.address, "list uploads"):
            pages = self._client().get_paginator("list_multipart_uploads")
            pages = pages.paginate(
                Bucket=self.address.bucket, Prefix=self._above + prefix, PaginationConfig={"PageSize": S3_PAGE}
            )
            found = [each for page in pages for each in page.get("Uploads", ())]
        return tuple(OpenUpload(each["Key"].removeprefix(self._above), each["UploadId"]) for each in found)

    def read_grant(self, key: str, lifetime_s: int) -> Grant:
        return self._grant("get_object", "GET", self._named(key), lifetime_s)

    def part_grant(self, key: str, upload: str, number: int, lifetime_s: int) -> Grant:
        """Raises :class:`NotFound` for what cannot be an upload's id."""
        return self._grant("upload_part", "PUT", {**self._upload(key, upload), "PartNumber": number}, lifetime_s)

    def _grant(self, operation: str, method: str, named: dict[str, Any], lifetime_s: int) -> Grant:
        expires_at_ms = round((time.time() + lifetime_s) * 1000)
        with store_errors(self.address, "grant"):
            url = self._client().generate_presigned_url(operation, Params=named, ExpiresIn=lifetime_s, HttpMethod=method)
        return Grant(method, url, expires_at_ms)

    def _complete(self, key: str, upload: str, parts: Sequence[PartReceipt]) -> bool:
        """False: there is a blob already."""
        whole = {"Parts": [{"PartNumber": part.number, "ETag": f'"{part.etag}"'} for part in parts]}
        named = self._upload(key, upload)
        with store_errors(self.address, f"complete {key}"):
            try:
                self._client().complete_multipart_upload(**named, MultipartUpload=whole, IfNoneMatch="*")
            except ClientError as error:
                if code_of(error) == NO_UPLOAD:
                    raise no_upload(upload) from None
                if code_of(error) in BAD_PARTS:
                    raise Unprocessable("wrong_part", f"parts of {key} are not what was received: send them again") from error
                if code_of(error) in EXISTS:
                    return False
                raise
        return True

    @property
    def _above(self) -> str:
        return f"{self.address.prefix}/" if self.address.prefix else ""

    def _named(self, key: str) -> dict[str, Any]:
        return {"Bucket": self.address.bucket, "Key": self._above + check_key(key)}

    def _upload(self, key: str, upload: str) -> dict[str, Any]:
        named = self._named(key)
        if not _UPLOAD.fullmatch(upload):
            raise no_upload(upload)
        return {**named, "UploadId": upload}

    def _client(self) -> Any:
        """Made when it is first needed: that may ask the host for credentials."""
        with self._lock:
            if self._made is None:
                self._made = _client(self.address, self._credentials)
            return self._made


def _client(address: S3Address, credentials: S3Credentials | None) -> Any:
    session = botocore.session.get_session()
    if credentials is not None:
        session.set_credentials(credentials.key_id, credentials.secret, credentials.session or None)
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": address.addressing},
        retries={"mode": "standard", "total_max_attempts": S3_ATTEMPTS_MAX},
        connect_timeout=S3_CONNECT_S_MAX,
        read_timeout=HTTP_TIMEOUT_S,
        max_pool_connections=S3_CONNECTIONS_MAX,
        # Its own checksums are for Amazon's store alone; what we read is verified by digest, what we write is on the way back.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    region = address.region or session.get_config_variable("region") or (_DEFAULT_REGION if address.endpoint else None)
    try:
        return session.create_client("s3", region_name=region, endpoint_url=address.endpoint or None, config=config)
    except ValueError:  # its words may have what somebody wrote into a URL
        raise Invalid(
            "bad_store_url",
            f"no client can be made for {address}: correct store_url, or AWS_ENDPOINT_URL and AWS_REGION in the environment",
        ) from None
