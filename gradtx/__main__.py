"""`python -m gradtx`, and the script `gradtx`."""

from __future__ import annotations

import sys

try:
    from gradtx.command import cli
except ModuleNotFoundError as error:
    if error.name != "click":
        raise
    sys.exit("gradtx: the command line needs click: pip install 'gradtx[cli]'")


def main() -> None:
    """Run the command line."""
    cli(prog_name="gradtx")


if __name__ == "__main__":
    main()
