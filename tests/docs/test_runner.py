"""The runner of pages finds what is wrong with them: a page that lies does not pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from .matching import matches
from .pages import blocks
from .play import play


def written(tmp_path: Path, text: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(text)
    return page


def played(tmp_path: Path, text: str) -> Path:
    home = tmp_path / f"reader-{len(list(tmp_path.iterdir()))}"
    home.mkdir()
    play(written(tmp_path, text), home)
    return home / "home"


def test_a_session_keeps_its_directory_and_its_variables(tmp_path: Path) -> None:
    played(tmp_path, "```console\n$ mkdir a\n$ cd a; x=1\n$ echo ${PWD##*/} $x\na 1\n```\n```sh\ntest $x = 1   # still\n```\n")


def test_output_that_is_not_as_shown_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:2: \$ echo one\nprinted\none\n\nand the page shows\ntwo"):
        played(tmp_path, "```console\n$ echo one\ntwo\n```\n")


def test_output_that_is_not_shown_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="and the page shows"):
        played(tmp_path, "```console\n$ echo one\n```\n")


def test_a_failure_that_is_not_shown_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:2: \$ false\nexited 1"):
        played(tmp_path, "```sh\nfalse\n```\n")
    with pytest.raises(AssertionError, match="and the page shows\n0"):
        played(tmp_path, "```console\n$ false\n$ echo $?\n0\n```\n")


def test_a_failure_that_is_shown_is_well(tmp_path: Path) -> None:
    played(tmp_path, "```console\n$ cat nothing\ncat: ...\n$ echo $?\n1\n```\n")


def test_a_named_block_is_a_file_where_the_session_is(tmp_path: Path) -> None:
    text = (
        "```sh\nmkdir a && cd a\n```\n\nThis is `b/c.toml`:\n\n```toml\nx = 1\n```\n\n```console\n$ cat b/c.toml\nx = 1\n```\n"
    )
    home = played(tmp_path, text)
    assert (home / "a" / "b" / "c.toml").read_text() == "x = 1\n"


def test_a_program_on_a_page_must_end_well(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="this program ended with 3"):
        played(tmp_path, "```python\nraise SystemExit(3)\n```\n")


def test_a_command_in_the_foreground_goes_on_until_it_is_interrupted(tmp_path: Path) -> None:
    told = "import signal; signal.signal(2, lambda *_: exit(print('bye'))); print('ready', flush=True); signal.pause()"
    text = f'```console foreground\n$ python3 -c "{told}"\nready\n```\n```console\n^C\nbye\n```\n'
    played(tmp_path, text)
    with pytest.raises(AssertionError, match="ended after printing"):
        played(tmp_path, "```console foreground\n$ echo over\nready\n```\n")


def test_a_target_of_make_must_be_there(tmp_path: Path) -> None:
    played(tmp_path, "```sh\nmake demo   # is not run\n```\n")
    with pytest.raises(AssertionError, match="the Makefile has no nonsense"):
        played(tmp_path, "```sh\nmake nonsense\n```\n")


@pytest.mark.parametrize("text", ["```\n$ ls\n```\n", "```bash\nls\n```\n", "```sh foreground\nls\n```\n", "```sh\nls\n"])
def test_a_block_that_no_test_looks_at_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"page\.md:1"):
        blocks(written(tmp_path, text))


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (["a"], ["a  "], True),
        (["a ..."], ["a b c"], True),
        (["a ... c"], ["a b d"], False),
        (["..."], [], True),
        (["...", "z"], ["x", "y", "z"], True),
        (["...", "z"], ["x", "z", "y"], False),
        (["a", "...", "b", "..."], ["a", "b"], True),
        ([], ["a"], False),
        (["a.c"], ["abc"], False),
    ],
)
def test_what_counts_as_the_same(shown: list[str], printed: list[str], same: bool) -> None:
    assert matches(shown, printed) is same
