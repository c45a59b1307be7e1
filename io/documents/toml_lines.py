"""Lines of the keys of a TOML file, which the standard library's reader does not give."""

import re

_BARE = r"[A-Za-z0-9_-]+"
_KEY = re.compile(rf"""\s*({_BARE}|"[^"\\]*"|'[^']*')\s*=""")
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_BARE}(?:\s*\.\s*{_BARE})*)\s*\]")
_TOKEN = re.compile(r'"""|\'\'\'|"(?:\\.|[^"\\])*"|\'[^\']*\'|#.*|[\[\]{}]')


class TomlLines:
    """Lines of tables and keys by path, such as ``sequences[2].steps[1].subject``.

    Elements of arrays of tables are counted from 1. Keys inside inline tables are not indexed:
    they stand on, or just below, the line of their table.

    Parameters
    ----------
    text : str
        A TOML document that parses; of any other, the lines are only a guess.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._table = ""
        open_quote = ""
        depth = 0
        for number, line in enumerate(text.split("\n"), start=1):
            if not open_quote and depth == 0:
                line = self._statement(line, number)
            open_quote, depth = _scan(line, open_quote, depth)

    def _statement(self, line: str, number: int) -> str:
        """Index what begins on a line, and return the part of it that may run on."""
        header = _HEADER.match(line)
        if header is not None:
            names = [name.strip() for name in header[2].split(".")]
            self._table = self._resolved(names, new=header[1] == "[[")
            self._lines.setdefault(self._table, number)
            # The array as a whole stands where its first element does.
            self._lines.setdefault(self._table.rsplit("[", 1)[0], number)
            return ""
        key = _KEY.match(line)
        if key is None:
            return line
        name = key[1].strip("\"'")
        self._lines.setdefault(f"{self._table}.{name}".lstrip("."), number)
        return line[key.end() :]

    def _resolved(self, names: list[str], *, new: bool) -> str:
        path = ""
        for place, name in enumerate(names):
            path = f"{path}.{name}".lstrip(".")
            if new and place == len(names) - 1:
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts:
                path = f"{path}[{self._counts[path]}]"
        return path

    def line(self, path: str) -> int | None:
        """Return the line of a path, or of the nearest table or key around it."""
        while path:
            if path in self._lines:
                return self._lines[path]
            cut = max(path.rfind("."), path.rfind("["))
            path = path[: max(cut, 0)]
        return None


def _scan(line: str, open_quote: str, depth: int) -> tuple[str, int]:
    """Follow multi-line strings and brackets over one line."""
    place = 0
    while place < len(line):
        if open_quote:
            end = line.find(open_quote, place)
            if end < 0:
                return open_quote, depth
            open_quote, place = "", end + 3
            continue
        token = _TOKEN.search(line, place)
        if token is None:
            break
        place = token.end()
        if token[0] in ('"""', "'''"):
            open_quote = token[0]
        elif token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth = max(depth - 1, 0)
    return open_quote, depth
