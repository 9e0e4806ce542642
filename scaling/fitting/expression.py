"""Arithmetic over the columns of a table: ``Training FLOP / (6 * Model Size)``.

A column name with spaces needs no backticks. A formula may have arithmetic, numbers and a few
functions, and nothing else. ``pandas.DataFrame.eval`` is no replacement: it calls any method of a
column (``D.to_csv('file')`` writes a file), lacks log2, minimum and maximum, and needs backticks.
It would need the same whitelist and the same aliases.
"""

import ast
import difflib
import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import CodeType

import numpy as np

from scaling.config.load import ConfigError
from scaling.fitting.slope import Floats

NAMES = ("log", "log2", "log10", "exp", "sqrt", "abs", "minimum", "maximum")
FUNCTIONS = {name: getattr(np, name) for name in NAMES}
ALLOWED = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Constant, ast.Name, ast.Load, ast.Call),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.USub, ast.UAdd),
)
MAX_LISTED = 12  # columns in a sentence
QUOTED = re.compile(r"(`[^`]*`|'[^']*'|\"[^\"]*\")")


@dataclass(frozen=True)
class Expression:
    """A formula over named columns, compiled once."""

    text: str
    names: tuple[str, ...]
    code: CodeType
    aliases: Mapping[str, str]

    @classmethod
    def of(cls, text: str, known: Iterable[str], where: str) -> "Expression":
        """Compile a formula over the names ``known``; ConfigError names the option ``where``."""
        known = list(known)
        if text in known:
            # The whole name of a column may have any signs.
            return cls(text, (text,), compile("whole", where, "eval"), {"whole": text})
        plain, aliases = with_aliases(text, known, where)
        try:
            tree = ast.parse(plain.strip(), mode="eval")
        except (SyntaxError, ValueError) as error:
            raise ConfigError(
                f"{where}: {text!r} is no arithmetic over columns, and "
                f"{missing_column(text, known)}"
            ) from error
        for node in ast.walk(tree):
            _check_node(node, text, where)
        nodes = list(ast.walk(tree))
        called = [node.func for node in nodes if isinstance(node, ast.Call)]
        used = {n.id for n in nodes if isinstance(n, ast.Name) and n not in called}
        names = sorted(aliases.get(name, name) for name in used)
        for name in names:
            if name not in known:
                raise ConfigError(f"{where}: {missing_column(name, known)}")
        return cls(text, tuple(names), compile(tree, where, "eval"), aliases)

    def __call__(self, columns: Mapping[str, Floats]) -> Floats:
        """Return the values of the formula (rows,) for columns by name, each of shape (rows,)."""
        values = {alias: columns[name] for alias, name in self.aliases.items()}
        values |= {name: columns[name] for name in self.names}
        with np.errstate(all="ignore"):
            result: Floats = eval(self.code, {"__builtins__": {}, **FUNCTIONS}, values)
        return result


def with_aliases(text: str, known: Iterable[str], where: str) -> tuple[str, dict[str, str]]:
    """Replace column names that are no identifiers by aliases; return the text and the aliases.

    A name in backticks must be that of a column. Other names are matched as written, the longest
    first. Text in quotes does not change.
    """
    known = list(known)
    awkward = [name for name in known if not name.isidentifier() or keyword.iskeyword(name)]
    awkward.sort(key=len, reverse=True)
    aliases: dict[str, str] = {}

    def alias(name: str) -> str:
        short = f"column_{known.index(name)}_"
        aliases[short] = name
        return short

    def outside(part: str) -> str:
        for name in awkward:
            whole = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
            if whole.search(part):
                part = whole.sub(alias(name), part)
        return part

    def inside(quoted: str) -> str:
        name = quoted[1:-1]
        if quoted[0] == "`" and name not in known:
            raise ConfigError(f"{where}: {missing_column(name, known)}")
        return alias(name) if quoted[0] == "`" else quoted

    pieces = QUOTED.split(text)
    pieces[::2], pieces[1::2] = map(outside, pieces[::2]), map(inside, pieces[1::2])
    return "".join(pieces), aliases


def missing_column(name: str, known: Iterable[str]) -> str:
    """Return the error text for a column that does not exist, with the nearest name."""
    known = list(known)
    folded = {other.casefold(): other for other in known}
    nearest = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0)
    hint = f"the nearest is {folded[nearest[0]]!r}" if nearest else "the table has no columns"
    return f"there is no column {name!r}: {hint}"


def column_list(known: Iterable[str]) -> str:
    """Return a sentence that lists the columns."""
    names = [repr(name) for name in known]
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f"The columns are {', '.join(names[:MAX_LISTED])}{more}."


def _check_node(node: ast.AST, text: str, where: str) -> None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
        raise ConfigError(f"{where}: {text!r} has ^: write ** for a power")
    allowed = isinstance(node, ALLOWED)
    if isinstance(node, ast.Call):
        function = node.func.id if isinstance(node.func, ast.Name) else None
        allowed = function in FUNCTIONS and not node.keywords
    if isinstance(node, ast.Constant):
        allowed = type(node.value) in (int, float)
    if not allowed:
        raise ConfigError(
            f"{where}: {text!r} has more than arithmetic: write + - * / ** and "
            f"{', '.join(FUNCTIONS)} over columns and numbers"
        )
