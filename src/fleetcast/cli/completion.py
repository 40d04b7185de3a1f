"""``fleetcast completion``: a script that teaches a shell the commands, options and choices there are."""

from __future__ import annotations

from typing import Literal

from fleetcast.cli.output import print_json

Shell = Literal["bash", "zsh", "fish"]


def completion(shell: Shell, *, json: bool = False) -> None:
    """Print what teaches a shell to complete commands. The script answers by itself: completing starts no program.

    For example: `fleetcast completion bash > ~/.local/share/bash-completion/completions/fleetcast`

    For zsh, put it into a file `_fleetcast` in a directory of `$fpath`; for fish, into
    `~/.config/fish/completions/fleetcast.fish`.

    Parameters
    ----------
    shell
        Which one.
    json
        Print it as a JSON string, with the shell's name.
    """
    from fleetcast.cli.main import application

    script = application([]).generate_completion(shell=shell)
    if json:
        print_json({"shell": shell, "script": script})
    else:
        print(script, end="")
