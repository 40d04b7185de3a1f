"""Completion in a real bash; the other shells' scripts are only generated here."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

SOON_S = 20.0


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = subprocess.run([sys.executable, "-m", "fleetcast", "completion", "bash"], capture_output=True, text=True, check=True)
    path = tmp_path_factory.mktemp("completion") / "fleetcast.bash"
    path.write_text(made.stdout)
    return path


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("dep", {"deploy"}),
        ("art", {"artifact"}),
        ("artifact ", {"list", "show", "export", "verify"}),
        ("artifact export web@main --un", {"--unsigned"}),
        ("deploy web@main --all", {"--allow-unmerged"}),
        ("completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_bash_offers_what_there_is(script: Path, typed: str, offered: set[str]) -> None:
    words = ["fleetcast", *typed.split(" ")]
    ask = f'source "$0"; COMP_WORDS=("$@"); COMP_CWORD={len(words) - 1}; _fleetcast; printf "%s\\n" "${{COMPREPLY[@]}}"'
    # Without a PATH: the script answers by itself.
    done = subprocess.run(
        [shutil.which("bash") or "bash", "--norc", "-c", ask, str(script), *words],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": ""},
    )
    assert {line.strip() for line in done.stdout.splitlines() if line.strip()} >= offered


def test_a_tab_completes_in_a_terminal(script: Path) -> None:
    """As a person does it: an interactive bash on a terminal of its own."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(
            shutil.which("bash") or "bash", ["bash", "--norc", "-i"], {"PATH": os.environ["PATH"], "PS1": "$ ", "TERM": "dumb"}
        )
    try:
        os.write(terminal, f"source {script}\nfleetcast dep\t".encode())
        said, end = b"", time.monotonic() + SOON_S
        while b"fleetcast deploy" not in said:
            left = end - time.monotonic()
            assert left > 0, said.decode(errors="replace")
            if select.select([terminal], [], [], left)[0]:
                said += os.read(terminal, 4096)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_too(shell: str) -> None:
    made = subprocess.run([sys.executable, "-m", "fleetcast", "completion", shell], capture_output=True, text=True, check=True)
    assert "rollback" in made.stdout
    assert "allow-unmerged" in made.stdout
