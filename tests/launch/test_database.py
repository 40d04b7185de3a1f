"""Where control's database is said to be, and that nobody is shown its password."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetcast.launch import sources
from fleetcast.launch.database import database_address, notice_address
from fleetcast.launch.effective import effective
from fleetcast.model.errors import Invalid, NotFound

URL = "postgresql+psycopg://fleetcast:pa:ss-word@db.example:5432/fleetcast?application_name=x"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text('[control]\ndatabase_url_file = "secrets/database.url"\n')
    (tmp_path / "secrets").mkdir()
    return path


def _address(settings: Path, **environ: str) -> str:
    control = sources.load(settings, environ=environ).control
    assert control is not None
    return database_address(control)


def test_the_file_says_it(settings: Path) -> None:
    file = settings.parent / "secrets" / "database.url"
    file.write_text(f"{URL}\n")
    file.chmod(0o600)
    assert _address(settings) == URL


def test_a_file_that_is_missing_open_or_empty_is_refused_and_its_text_is_not_told(settings: Path) -> None:
    file = settings.parent / "secrets" / "database.url"
    with pytest.raises(NotFound, match="database_url_file"):
        _address(settings)
    file.write_text(URL)
    file.chmod(0o640)
    with pytest.raises(Invalid, match="chmod 600") as refused:
        _address(settings)
    assert "pa:ss-word" not in str(refused.value)
    file.chmod(0o600)
    file.write_text("")
    with pytest.raises(Invalid, match="one line"):
        _address(settings)


def test_both_the_file_and_the_url_are_one_too_many(settings: Path) -> None:
    with pytest.raises(Invalid, match="leave one of them out"):
        _address(settings, FLEETCAST_CONTROL_DATABASE_URL=URL)


def test_without_either_it_is_a_file_in_controls_directory(settings: Path) -> None:
    settings.write_text("[control]\n")
    assert _address(settings) == f"sqlite+aiosqlite:///{settings.parent / 'control' / 'fleetcast.db'}"


def test_what_is_not_a_url_of_a_database_is_refused_in_one_line(settings: Path) -> None:
    settings.write_text('[control]\nnotice_database_url = "mysql://x"\n')
    control = sources.load(settings, environ={}).control
    assert control is not None
    with pytest.raises(Invalid, match="postgresql"):
        notice_address(control, URL)


def test_a_listener_has_the_databases_user_unless_it_names_one(settings: Path) -> None:
    settings.write_text('[control]\nnotice_database_url = "postgresql+psycopg://direct:6432/fleetcast"\n')
    control = sources.load(settings, environ={}).control
    assert control is not None
    there = notice_address(control, "postgresql+psycopg://fleetcast:secret@pooler/fleetcast")
    assert there == "postgresql+psycopg://fleetcast:secret@direct:6432/fleetcast"


@pytest.mark.parametrize("key", ["database_url", "replication_database_url", "notice_database_url"])
def test_what_settings_show_has_no_password_wherever_it_comes_from(settings: Path, key: str) -> None:
    settings.write_text(f'[control]\n{key} = "{URL}"\n')
    by_file = {item.key: item for item in effective(settings, environ={})}
    assert by_file[key].value == "postgresql+psycopg://fleetcast:***@db.example:5432/fleetcast?application_name=x"
    by_flag = effective(settings, environ={}, flags=[f"control.{key}={URL}"])
    assert "pa:ss-word" not in repr(by_flag)
    in_query = "postgresql+psycopg://db.example/fleetcast?user=u&password=pa:ss-word&sslmode=require"
    assert "pa:ss-word" not in repr(effective(settings, environ={f"FLEETCAST_CONTROL_{key.upper()}": in_query}))
