"""A page of docs/sinks/: its blocks, in which section each stands, and which file it is to be."""

import dataclasses
import re


@dataclasses.dataclass
class Block:
    line: int
    section: str
    language: str
    text: str
    path: str | None  # the file in /etc that the words before it name


def blocks(page):
    section, before, found = "", "", None
    for number, line in enumerate(page.splitlines(), 1):
        fence = line.strip().startswith("```")
        if found is None and line.startswith("## "):
            section, before = line[3:].strip(), ""
        elif found is None and fence:
            path = re.search(r"`(/etc/[^`]+)`", before)
            found = Block(number, section, line.strip()[3:], "", path and path.group(1))
        elif found is not None and fence:
            yield found
            found, before = None, ""
        elif found is not None:
            found.text += line + "\n"
        elif line.strip():
            before = line if not before or before.endswith("\0") else f"{before} {line}"
        else:
            before = before and before.rstrip("\0") + "\0"  # a paragraph has ended; only the last one counts
    if found is not None:
        raise ValueError(f"line {found.line}: a block that does not end")
