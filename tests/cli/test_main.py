"""The command line's entry: light (bench/startup.py has the figures), helpful, and with exit codes that say what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("sqlalchemy", "alembic", "litestar", "httpx2", "uvicorn", "uvloop", "cryptography", "structlog", "asyncio")


def run(*arguments: str, environ: dict[str, str] | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "fleetcast", *arguments]
    return subprocess.run(program, capture_output=True, text=True, timeout=30, check=False, env=environ, cwd=cwd)


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from fleetcast.cli import main; main.run(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert not [name for name in loaded if name in HEAVY or name.startswith("fleetcast.control")]


def test_version_is_one_line() -> None:
    assert run("--version").stdout.startswith("fleetcast 0.")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["deplo"], 2, 'Did you mean "deploy"?'),
        (["deploy"], 2, "deploy what? Write SERVICE@REV, for instance web@main"),
        (["deploy", "web"], 2, "Write web@SHA"),
        (["deploy", "Web!@" + "a" * 40], 2, "not a legal name"),
        (["status"], 2, "which control?"),
        (["build", "web@main"], 2, "which control?"),
        (["artifact", "verify", "web@main"], 2, "which control?"),
        (["settings"], 3, "there is no settings file"),
        (["doctor", "--settings", "none.toml"], 1, "1 of 6 checks failed"),
        (["status", "--settings", "none.toml"], 3, "there is no settings file"),
        (["status", "--control-url", "http://127.0.0.1:1", "--token-file", "token"], 5, "cannot be reached"),
        (["status", "--control-url", "localhost:7401", "--token-file", "token"], 2, "write http://localhost:7401"),
        (["status", "--control-url", "ftp://localhost:7401"], 2, "write http://localhost:7401"),
        (["status", "--control-url", "http://127.0.0.1:1", "--token-file", "open-token"], 2, "chmod 600"),
        (["agent", "--settings", "none.toml"], 3, "there is no settings file"),
        (["demo", "--size", "huge"], 2, "is not a size"),
        (["demo", "--size", "11GB"], 2, "10 GB an artifact may have"),
        (["demo", "--machines", "2"], 2, "so that each has a machine"),
        (["demo", "--build", "make"], 2, "add --repo"),
        (["demo", "--repo", ".", "--size", "1MiB"], 2, "leave it out"),
        (["demo", "--repo", "no-such-place/repo"], 5, "cannot reach the repository"),
    ],
)
def test_errors_are_one_line_and_a_code(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    (tmp_path / "token").write_text("secret")
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "open-token").write_text("secret")
    done = run(*arguments, environ={"PATH": "/usr/bin:/bin", "COLUMNS": "200"}, cwd=tmp_path)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr + done.stdout
    assert done.stdout == "" or arguments[0] == "doctor"
