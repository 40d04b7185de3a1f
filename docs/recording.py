"""The recording of ``make demo`` in the README: ``make recording`` makes it again.

Runs the demo in a terminal of 80 columns that exists in memory only, and writes down what a person would find on it
afterwards, scrolled out lines included, without colours; and the picture as it was at its busiest.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pyte

COLUMNS: Final = 80
ROWS: Final = 30
DEMO_S_MAX: Final = 300.0
README: Final = Path(__file__).parent.parent / "README.md"
BEGIN: Final = "<!-- recording of make demo: made by `make recording`, not by hand -->"
END: Final = "<!-- end of the recording -->"
_HISTORY_LINES: Final = 5000
_READ_BYTES: Final = 1 << 16
_LOOK_S: Final = 0.1
_TEMPORARY: Final = re.compile(r"\S*/fleetcast-demo-[0-9a-f]{8}")
_PORT: Final = re.compile(r"(http://127\.0\.0\.1:)\d+")
_TITLE: Final = re.compile(r"\S+  deploy .*  DISTRIBUTING ")


class Terminal:
    """A program in a terminal, both of them ours. ``seen`` is called with the lines on the screen after each bit of output."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], *, columns: int = COLUMNS, rows: int = ROWS) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=_HISTORY_LINES)
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        unset = {"COLUMNS", "LINES", "NO_COLOR", "PYTHONIOENCODING", "LC_ALL"}
        inherited = {key: value for key, value in os.environ.items() if key not in unset}
        known = {**inherited, "TERM": "xterm-256color", "LANG": "C.UTF-8", **environ}
        try:
            self.process = subprocess.Popen(
                command,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env=known,
                start_new_session=True,
                # Whoever runs us in the background may have us ignore it; in a terminal's foreground it is heard.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        finally:
            os.close(slave)

    def run(self, bound_s: float, seen: Callable[[list[str]], object] = lambda _lines: None) -> int:
        """Until the program has ended: its exit code. Raises :class:`TimeoutError` after ``bound_s``."""
        end = time.monotonic() + bound_s
        while time.monotonic() < end:
            if not select.select([self._master], [], [], _LOOK_S)[0]:
                continue
            try:
                data = os.read(self._master, _READ_BYTES)
            except OSError:  # nobody has the other end open any more
                data = b""
            if not data:
                return self.process.wait(max(0.1, end - time.monotonic()))
            self._stream.feed(data)
            seen(self.lines())
        raise TimeoutError(f"it did not end within {bound_s:g} s")

    def lines(self) -> list[str]:
        """What is on the screen."""
        return [line.rstrip() for line in self.screen.display]

    def everything(self) -> list[str]:
        """The same after what has scrolled out of it."""
        width = self.screen.columns
        gone = ["".join(line[column].data for column in range(width)).rstrip() for line in self.screen.history.top]
        return [*gone, *self.lines()]

    def close(self) -> None:
        """However it went: the program is gone afterwards."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        os.close(self._master)


class Busiest:
    """The picture that shows machines at as many different things as possible."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._score = 0

    def look(self, screen: list[str]) -> None:
        found = next((row for row, line in enumerate(screen) if _TITLE.match(line)), None)
        if found is None:
            return
        lines = screen[found : screen.index("", found)] if "" in screen[found:] else screen[found:]
        text = "\n".join(lines)
        score = 10 * len(set("↓◐↻●✗") & set(text)) + len(set(re.findall(r"\d+%", text))) + 5 * text.count("/s")
        if score > self._score and any("%" in line for line in lines[2:]):
            self._score, self.lines = score, lines


def neutral(lines: Sequence[str]) -> str:
    """Without what is of this machine only, and without empty lines at the end."""
    text = "\n".join(line for line in lines).rstrip("\n")
    return _PORT.sub(r"\g<1>...", _TEMPORARY.sub("/tmp/fleetcast-demo", text))


def written_into(readme: str, whole: Sequence[str], busiest: Sequence[str]) -> str:
    """``readme`` with the recording between its marks. Raises :class:`ValueError` where it has none."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README needs a line {BEGIN!r} and later a line {END!r}")
    parts = [f"```\n$ make demo\n{neutral(whole)}\n```"]
    if busiest:
        parts.append(
            f"While a deployment goes out, its picture stands below these lines and moves:\n\n```\n{neutral(busiest)}\n```"
        )
    return f"{before}{BEGIN}\n" + "\n\n".join(parts) + f"\n{END}{after}"


def main() -> int:
    terminal, busiest = Terminal((sys.executable, "-m", "fleetcast", "demo"), {}), Busiest()
    try:
        code = terminal.run(DEMO_S_MAX, busiest.look)
    finally:
        terminal.close()
    if code:
        print(neutral(terminal.everything()), file=sys.stderr)
        return code
    README.write_text(written_into(README.read_text(encoding="utf-8"), terminal.everything(), busiest.lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
