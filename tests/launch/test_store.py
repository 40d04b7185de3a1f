"""Where stores of blobs and of keys and values are said to be, and that nobody is shown a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetcast.launch import sources
from fleetcast.launch.database import hidden, hidden_flag
from fleetcast.launch.store import s3_place
from fleetcast.model.errors import Invalid
from fleetcast.stores.s3_address import S3Address
from fleetcast.stores.s3_credentials import S3Credentials


def _settings(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    return file


def test_a_region_is_told_where_its_bucket_is(tmp_path: Path) -> None:
    credentials = tmp_path / "store.credentials"
    credentials.touch(mode=0o600)
    credentials.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    text = '[[region]]\nname = "eu"\nstore_url = "s3://bucket/eu"\nstore_credentials_file = "store.credentials"\n'
    settings = sources.load(_settings(tmp_path, f'{text}[[region]]\nname = "us"\n'), environ={})
    place = s3_place(settings.region("eu"))
    assert place is not None
    assert (place.address, place.credentials) == (S3Address("bucket", "eu"), S3Credentials("a", "b"))
    assert s3_place(settings.region("us")) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[control]\nstore_url = "bucket"\n', "store_url of control: .*s3://BUCKET"),
        ('[[region]]\nstore_url = "s3://a:s3cret@bucket"\n', "store_url of region local: .*store_credentials_file"),
        (
            '[control]\nstore_url = "s3://bucket/a"\n[[region]]\nstore_url = "s3://bucket/a/"\n',
            "region local and control have the same store_url",
        ),
    ],
)
def test_a_url_that_is_none_or_anothers_is_refused_when_it_is_read(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as refused:
        sources.load(_settings(tmp_path, text), environ={})
    assert "s3cret" not in refused.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[control]\nkv_url = "kv1:2379"\n', "control: kv_url is .*begins with etcd://"),
        ('[[region]]\nkv_url = "etcd://a:s3cret@kv1"\n', "region local: .*kv_user_file"),
        (
            '[control]\nkv_url = "etcds://kv1,kv2/x"\n[[region]]\nkv_url = "etcd://kv3,KV2:2379/x/"\n',
            "region local and control have the same kv_url: give each a prefix",
        ),
        (
            '[[region]]\nname = "eu"\nkv_url = "etcd://kv1/x"\n[[region]]\nname = "us"\nkv_url = "etcd://kv1/x/kv/y"\n',
            "region eu and region us have the same kv_url",
        ),
    ],
)
def test_keys_and_values_of_two_are_never_in_one_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as refused:
        sources.load(_settings(tmp_path, text), environ={})
    assert "s3cret" not in refused.value.message


def test_prefixes_of_their_own_share_a_cluster(tmp_path: Path) -> None:
    eu = '[[region]]\nname = "eu"\nkv_url = "etcd://kv1/x/eu"\n'
    us = '[[region]]\nname = "us"\nkv_url = "etcd://kv2/x"\n'
    settings = sources.load(_settings(tmp_path, f'[control]\nkv_url = "etcd://kv1/x"\n{eu}{us}'), environ={})
    assert [region.kv_url for region in settings.regions] == ["etcd://kv1/x/eu", "etcd://kv2/x"]


def test_credentials_of_no_store_are_refused(tmp_path: Path) -> None:
    control = sources.load(_settings(tmp_path, '[control]\nstore_credentials_file = "file"\n'), environ={}).control
    assert control is not None
    with pytest.raises(Invalid, match="name the store"):
        s3_place(control)


@pytest.mark.parametrize("key", ["store_url", "kv_url"])
def test_what_may_be_a_secret_is_not_shown(key: str) -> None:
    assert hidden(key, "any://key:s3cret@host") == "any://key:***@host"
    assert "s3cret" not in hidden_flag(f"--set region.{key}=any://key:s3cret@host")
