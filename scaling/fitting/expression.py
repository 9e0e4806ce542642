"""Arithmetic over the columns of a table: ``Training FLOP / (6 * Model Size)``.

A name is a column's, with or without backticks around it where it holds spaces. Nothing but
arithmetic, numbers and a few functions is taken, so a formula cannot do anything else.
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

FUNCTIONS = {
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "minimum": np.minimum,
    "maximum": np.maximum,
}
ALLOWED = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Constant, ast.Name, ast.Load, ast.Call),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.USub, ast.UAdd),
)
MOST_NAMED = 12  # columns in a sentence
QUOTED = re.compile(r"`[^`]*`|'[^']*'|\"[^\"]*\"")


@dataclass(frozen=True)
class Expression:
    """A formula over named columns, compiled once."""

    text: str
    names: tuple[str, ...]
    code: CodeType
    aliases: Mapping[str, str]

    @classmethod
    def of(cls, text: str, known: Iterable[str], where: str) -> "Expression":
        """The formula over these names; :class:`ConfigError` says what is wrong ``where``."""
        known = list(known)
        if text in known:
            # A whole column's name, whatever signs it holds.
            code = compile("whole", where, "eval")
            return cls(text, (text,), code, {"whole": text})
        plain, aliases = with_aliases(text, known, where)
        try:
            tree = ast.parse(plain.strip(), mode="eval")
        except (SyntaxError, ValueError) as error:
            raise ConfigError(
                [f"{where}: {text!r} is no arithmetic over columns, and {missing(text, known)}"]
            ) from error
        for node in ast.walk(tree):
            _allow(node, text, where)
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        used = {
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and id(node) not in called
        }
        names = sorted(aliases.get(name, name) for name in used)
        for name in names:
            if name not in known:
                raise ConfigError([f"{where}: {missing(name, known)}"])
        code = compile(tree, where, "eval")
        return cls(text, tuple(names), code, aliases)

    def __call__(self, columns: Mapping[str, Floats]) -> Floats:
        """The formula's value where its names stand for these columns."""
        values = {alias: columns[name] for alias, name in self.aliases.items()}
        values |= {name: columns[name] for name in self.names}
        with np.errstate(all="ignore"):
            result: Floats = eval(self.code, {"__builtins__": {}, **FUNCTIONS}, values)
        return result


def with_aliases(text: str, known: Iterable[str], where: str) -> tuple[str, dict[str, str]]:
    """The text with each column that is no plain name under an alias, and the aliases' names.

    Backticks hold a column's name exactly; without them, names with spaces or signs are found as
    they stand, the longest first. Text in quotes stays as it is.
    """
    known = list(known)
    awkward = sorted(
        (name for name in known if not name.isidentifier() or keyword.iskeyword(name)),
        key=len,
        reverse=True,
    )
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

    pieces, at = [], 0
    for match in QUOTED.finditer(text):
        pieces.append(outside(text[at : match.start()]))
        quoted = match.group()
        if quoted[0] == "`":
            if quoted[1:-1] not in known:
                raise ConfigError([f"{where}: {missing(quoted[1:-1], known)}"])
            quoted = alias(quoted[1:-1])
        pieces.append(quoted)
        at = match.end()
    return "".join([*pieces, outside(text[at:])]), aliases


def missing(name: str, known: Iterable[str]) -> str:
    """That there is no such column, with the nearest name."""
    known = list(known)
    folded = {other.casefold(): other for other in known}
    nearest = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0)
    hint = f"the nearest is {folded[nearest[0]]!r}" if nearest else "the table has no columns"
    return f"there is no column {name!r}: {hint}"


def columns(known: Iterable[str]) -> str:
    """Which columns there are, in a sentence."""
    names = [repr(name) for name in known]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"The columns are {', '.join(names[:MOST_NAMED])}{more}."


def _allow(node: ast.AST, text: str, where: str) -> None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
        raise ConfigError([f"{where}: {text!r} holds ^: write ** for a power"])
    plain = isinstance(node, ALLOWED)
    if isinstance(node, ast.Call):
        plain = isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and not node.keywords
    if isinstance(node, ast.Constant):
        plain = type(node.value) in (int, float)
    if not plain:
        raise ConfigError(
            [
                f"{where}: {text!r} holds more than arithmetic: + - * / ** and "
                f"{', '.join(FUNCTIONS)} over columns and numbers are taken"
            ]
        )
