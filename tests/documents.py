"""The project's Markdown files: their headings, links and commands."""

import re
import shlex
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def documents() -> list[Path]:
    """Every Markdown file of the project that git knows or would add."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "*.md"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.splitlines() if (ROOT / name).is_file()]


def prose(text: str) -> str:
    """The text without its code blocks."""
    return re.sub(r"^    .*$", "", _unfenced(text), flags=re.M)


def anchors(text: str) -> set[str]:
    """What a link to a heading of the text may end in, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def links(text: str) -> list[str]:
    """Targets of links and pictures that lie in the project."""
    return re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(text))


def shell_lines(text: str) -> list[str]:
    """Lines of code blocks, fenced as bash or indented, with continuations joined."""
    fenced = re.findall(r"^```bash\n(.*?)^```$", text, re.S | re.M)
    indented = re.findall(r"^    (.*(?:\\\n.*)*)$", _unfenced(text), re.M)
    blocks = "\n".join([*fenced, *indented])
    return re.sub(r"\\\n\s*", " ", blocks).splitlines()


def commands(text: str, program: str) -> list[list[str]]:
    """Arguments of each call of a program in the text's code, comments left out."""
    found = []
    for line in shell_lines(text):
        match = re.search(rf"(?:^|/|&& ){program} (.*)$", line)
        if match and "..." not in line:
            found.append(shlex.split(match[1], comments=True))
    return found


def _unfenced(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)
