"""%{ ... }%: assertions on tcp_info, evaluated over the syntax tree; nothing is ever executed."""

import ast
import operator
from collections.abc import Callable
from typing import Any, Final, Protocol

from pytools.errors import UsageError

_BINARY: Final[dict[type[ast.AST], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.LShift: lambda a, b: a << min(b, 64),
    ast.RShift: operator.rshift,
}
_COMPARE: Final[dict[type[ast.AST], Callable[[Any, Any], bool]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_CALLS: Final[dict[str, Callable[..., Any]]] = {
    "abs": abs,
    "min": min,
    "max": max,
    "int": int,
    "float": float,
    "len": len,
}


class AssertionFailedError(Exception):
    """An assertion does not hold; the message shows its text and the values in it."""


class Names(Protocol):
    """Where an assertion's words get their values."""

    def __contains__(self, name: object, /) -> bool:
        """Whether the word is known."""

    def __getitem__(self, name: str, /) -> Any:
        """Its value."""


class Evaluator:
    """Evaluates statements over `names`; a script's own variables live until its end."""

    def __init__(self, names: "Names") -> None:
        self._names = names
        self.variables: dict[str, Any] = {}
        self.printed: list[str] = []

    def run(self, text: str) -> None:
        """All statements of one %{ }%. AssertionFailedError; UsageError for what is not in the subset."""
        source = "\n".join(line.strip() for line in text.strip().splitlines())
        try:
            module = ast.parse(source)
        except SyntaxError as error:
            raise UsageError(f"code: {error.msg}") from None
        for statement in module.body:
            try:
                self._statement(statement)
            except (ArithmeticError, TypeError, ValueError, MemoryError) as error:
                raise UsageError(f"code: {ast.unparse(statement)!r}: {error}") from None

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assert):
            if not self._value(node.test):
                seen = {n.id: self._lookup(n.id) for n in ast.walk(node.test) if isinstance(n, ast.Name)}
                values = ", ".join(f"{name} = {value!r}" for name, value in seen.items() if not callable(value))
                raise AssertionFailedError(f"{ast.unparse(node.test)}  ({values})")
        elif isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets):
            value = self._value(node.value)
            for target in node.targets:
                assert isinstance(target, ast.Name)
                self.variables[target.id] = value
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _name(node.value.func) == "print":
            self.printed.append(" ".join(str(self._value(argument)) for argument in node.value.args))
        elif not isinstance(node, ast.Pass | ast.Import | ast.ImportFrom):
            raise UsageError(f"code: {type(node).__name__} is not in the subset that is evaluated")

    def _lookup(self, name: str) -> Any:
        if name in self.variables:
            return self.variables[name]
        if name in self._names:
            return self._names[name]
        if name in _CALLS:
            return _CALLS[name]
        raise UsageError(f"code: {name!r} is not known")

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self._lookup(node.id)
        if isinstance(node, ast.Tuple | ast.List):
            return [self._value(element) for element in node.elts]
        if isinstance(node, ast.UnaryOp):
            return self._unary(node)
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            return _BINARY[type(node.op)](self._value(node.left), self._value(node.right))
        if isinstance(node, ast.BoolOp):
            values = (self._value(value) for value in node.values)
            return all(values) if isinstance(node.op, ast.And) else any(values)
        if isinstance(node, ast.Compare):
            return self._compare(node)
        if isinstance(node, ast.Call) and _name(node.func) in _CALLS:
            return _CALLS[_name(node.func)](*(self._value(argument) for argument in node.args))
        raise UsageError(f"code: {ast.unparse(node)!r} is not in the subset that is evaluated")

    def _unary(self, node: ast.UnaryOp) -> Any:
        value = self._value(node.operand)
        if isinstance(node.op, ast.Not):
            return not value
        return -value if isinstance(node.op, ast.USub) else value

    def _compare(self, node: ast.Compare) -> bool:
        left = self._value(node.left)
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            right = self._value(right_node)
            if type(op) not in _COMPARE or not _COMPARE[type(op)](left, right):
                return False
            left = right
        return True


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""
