"""Code blocks of Markdown files, run as their readers run them."""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any, NamedTuple


class Block(NamedTuple):
    language: str
    line: int  # of its first line of content
    text: str


def blocks(markdown: str) -> list[Block]:
    found = re.finditer(r"^```(\w+)\n(.*?)^```$", markdown, re.DOTALL | re.MULTILINE)
    return [Block(m.group(1), markdown.count("\n", 0, m.start(2)) + 1, m.group(2)) for m in found]


def run(found: list[Block], scope: dict[str, Any], file: str) -> None:
    """Run the python blocks in order; a text block is what the block before it prints."""
    printed = ""
    for block in found:
        if block.language == "python":
            assert not printed, f"{file} line {block.line}: the block before prints something: show it"
            code = compile("\n" * (block.line - 1) + block.text, file, "exec", dont_inherit=True)
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, scope)
            printed = out.getvalue()
        elif block.language == "text":
            assert block.text == printed, f"{file} line {block.line}: it prints\n{printed}"
            printed = ""
    assert not printed, f"{file}: the last block prints something: show it"
