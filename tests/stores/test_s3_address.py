"""URLs of stores, and the files with their credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetcast.model.errors import Invalid, NotFound
from fleetcast.model.limits import S3_PREFIX_BYTES_MAX
from fleetcast.stores.s3_address import S3Address, s3_address
from fleetcast.stores.s3_credentials import S3Credentials, s3_credentials

FILE = "[default]\naws_access_key_id = AKIA\naws_secret_access_key = s3cr%t/+\n"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("s3://artifacts", S3Address("artifacts")),
        ("s3://artifacts/", S3Address("artifacts")),
        ("s3://artifacts/a/b/?region=eu-west-1", S3Address("artifacts", "a/b", region="eu-west-1")),
        (
            "s3://artifacts/a?endpoint=https://minio.example:9000&region=x&addressing=path",
            S3Address("artifacts", "a", "https://minio.example:9000", "x", "path"),
        ),
        ("s3://artifacts?endpoint=http://[::1]:9000", S3Address("artifacts", endpoint="http://[::1]:9000")),
        ("s3://artifacts?endpoint=http%3A%2F%2F127.0.0.1%3A9000%2F", S3Address("artifacts", endpoint="http://127.0.0.1:9000")),
    ],
)
def test_a_url_says_where_a_bucket_is(url: str, address: S3Address) -> None:
    assert s3_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "artifacts",
        "gs://artifacts",
        "s3://",
        "s3://a",
        "s3://Artifacts",
        "s3://artifacts/a b",
        "s3://artifacts/../b",
        f"s3://artifacts/{'a/' * S3_PREFIX_BYTES_MAX}a",
        "s3://artifacts#fragment",
        "s3://artifacts?regoin=x",
        "s3://artifacts?region=x&region=y",
        "s3://artifacts?region=a/b",
        "s3://artifacts?endpoint=minio.example",
        "s3://artifacts?endpoint=https://minio.example/path",
        "s3://artifacts?endpoint=https://minio.example:99999",
        "s3://artifacts?endpoint=http://my_minio:9000",
        "s3://artifacts?endpoint=http://-minio",
        "s3://artifacts?endpoint=http://minio..example",
        "s3://artifacts?endpoint=http://mi%0Anio",
        "s3://artifacts?endpoint=http://[minio]",
        "s3://artifacts?addressing=any",
        "s3://AKIA:s3cret@artifacts",
        "s3://artifacts?endpoint=https://AKIA:s3cret@minio.example",
        "s3://artifacts?s3cret",
        "s3://[artifacts",
    ],
)
def test_what_is_no_such_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        s3_address(url)
    assert "s3cret" not in refused.value.message
    assert "s3://BUCKET" in refused.value.message


def _written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.touch(mode=mode)
    path.write_text(text)
    return path


def test_credentials_are_read_from_a_file_for_its_owner(tmp_path: Path) -> None:
    assert s3_credentials(_written(tmp_path / "one", FILE)) == S3Credentials("AKIA", "s3cr%t/+")
    with_session = s3_credentials(_written(tmp_path / "two", f"{FILE}aws_session_token = for-an-hour\n"))
    assert with_session == S3Credentials("AKIA", "s3cr%t/+", "for-an-hour")
    assert s3_credentials(Path()) is None
    assert "s3cr%t" not in repr(with_session)


@pytest.mark.parametrize(
    "text", ["", "s3cr%t", "[default]\n", "[other]\naws_access_key_id = a\n", FILE.replace("AKIA", ""), "[default]\ns3cr%t"]
)
def test_a_file_without_credentials_is_refused_without_repeating_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(Invalid, match="aws_secret_access_key") as refused:
        s3_credentials(_written(tmp_path / "file", text))
    assert "s3cr%t" not in refused.value.message


def test_a_file_that_others_may_read_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="chmod 600"):
        s3_credentials(_written(tmp_path / "file", FILE, 0o640))
    with pytest.raises(NotFound):
        s3_credentials(tmp_path / "none")
