"""Mutants of Python source: small changes, each of which a test should notice.

A mutant is one replaced stretch of text. Left out are what says nothing about behaviour (docstrings, annotations,
imports, decorators) and the texts of errors, which are for people.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from itertools import pairwise

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_TWINS = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list"}
_TYPES = {"tuple", "list", "dict", "set", "type", "Literal", "Callable", "Mapping", "Sequence", "Iterable"}


@dataclass(frozen=True)
class Mutant:
    """One change of a module.

    Attributes:
        line: where it starts, from 1.
        last_line: where the changed expression or statement ends.
        place: the outermost function that holds it, as ``Class.method``, or "" for the module's and classes' own code.
        kind: what kind of change it is.
        original: the changed lines, as one.
        mutated: the same lines after the change.
        start, end: of the replaced stretch, in bytes.
        text: what stands there instead.
    """

    line: int
    last_line: int
    place: str
    kind: str
    original: str
    mutated: str
    start: int
    end: int
    text: str

    def apply(self, source: str) -> str:
        """The mutated source."""
        raw = source.encode()
        return (raw[: self.start] + self.text.encode() + raw[self.end :]).decode()


def find_mutants(source: str) -> list[Mutant]:
    """All mutants of a module, in the order of its text; such as compile, and differ from it and from one another."""
    finder = _Finder(source)
    finder.visit(ast.parse(source))
    seen = {ast.dump(ast.parse(source))}
    mutants: list[Mutant] = []
    for mutant in sorted(finder.mutants, key=lambda m: (m.start, m.end, m.text)):
        try:
            changed = ast.dump(ast.parse(mutant.apply(source)))
        except SyntaxError:
            continue
        if changed not in seen:
            seen.add(changed)
            mutants.append(mutant)
    return mutants


class _Finder(ast.NodeVisitor):
    """Walks over a module and collects what could be changed."""

    def __init__(self, source: str) -> None:
        self.mutants: list[Mutant] = []
        self._raw = source.encode()
        self._starts = [0]
        for line in self._raw.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._classes: list[str] = []
        self._function = ""
        self._in_raise = False
        self._assigned: set[str] = set()

    def _replace(self, node: ast.expr | ast.stmt, kind: str, text: str) -> None:
        last = node.end_lineno or node.lineno
        start = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[last - 1] + (node.end_col_offset or 0)
        head, tail = self._raw[self._starts[node.lineno - 1] : start], self._raw[end : self._starts[last]]
        original = _one_line((head + self._raw[start:end] + tail).decode())
        mutated = _one_line((head + text.encode() + tail).decode())
        self.mutants.append(Mutant(node.lineno, last, self._function, kind, original, mutated, start, end, text))

    def _remove(self, node: ast.stmt) -> None:
        self._replace(node, "statement removed", "pass")

    def _negate(self, condition: ast.expr) -> None:
        """Comparisons and negations are turned round by their own mutants."""
        is_single = isinstance(condition, ast.Compare) and len(condition.ops) == 1
        if not is_single and not isinstance(condition, ast.UnaryOp):
            self._replace(condition, "condition negated", f"(not ({ast.unparse(condition)}))")

    # What holds no behaviour, or gives a name to a place.

    def visit_Import(self, node: ast.Import) -> None:
        """Nothing to change."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Nothing to change."""

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Its body only."""
        self._classes.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self._classes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Defaults belong to the code around it."""
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        outer, assigned = self._function, self._assigned
        self._function = outer or ".".join((*self._classes, node.name))
        self._assigned = {a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
        for statement in node.body:
            self.visit(statement)
        self._function, self._assigned = outer, assigned

    # Statements.

    def visit_If(self, node: ast.If) -> None:
        """Its condition, unless it is for type checkers only."""
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        self._negate(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        """Its condition."""
        self._negate(node.test)
        self.generic_visit(node)

    def visit_match_case(self, node: ast.match_case) -> None:
        """Its guard, and the constants of its pattern."""
        if node.guard is not None:
            self._negate(node.guard)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        """Calls are removed; docstrings and dots are let be."""
        if not isinstance(node.value, ast.Constant):
            self._remove(node)
            self.visit(node.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Removed; and the fields of the error, but not its text."""
        self._remove(node)
        self._in_raise = True
        self.generic_visit(node)
        self._in_raise = False

    def visit_Assign(self, node: ast.Assign) -> None:
        """Removed where something was there before; names of types are let be."""
        names = {n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)}
        is_plain = all(isinstance(n, ast.Name | ast.Tuple) for n in node.targets)
        if not is_plain or names <= self._assigned:
            self._remove(node)
        self._assigned |= names if is_plain else set()
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Its value."""
        if node.value is not None:
            if not isinstance(node.target, ast.Name):
                self._remove(node)
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """Removed, or with another operation."""
        self._remove(node)
        other = _ARITHMETIC.get(type(node.op))
        if other is not None and not _is_text(node.value):
            self._replace(node, "arithmetic", ast.unparse(ast.AugAssign(node.target, other(), node.value)))
        self.generic_visit(node)

    def visit_Continue(self, node: ast.Continue) -> None:
        """Removed."""
        self._remove(node)

    def visit_Break(self, node: ast.Break) -> None:
        """Removed."""
        self._remove(node)

    def visit_Delete(self, node: ast.Delete) -> None:
        """Removed."""
        self._remove(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        """Each of several kinds of error is let through."""
        if isinstance(node.type, ast.Tuple):
            for kept in node.type.elts:
                self._replace(node.type, "error no longer caught", ast.unparse(kept))
        for statement in node.body:
            self.visit(statement)

    # Expressions.

    def visit_comprehension(self, node: ast.comprehension) -> None:
        """Its conditions."""
        for condition in node.ifs:
            self._negate(condition)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        """Its condition."""
        self._negate(node.test)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """Each of its operators."""
        for at, operator in enumerate(node.ops):
            for other in _COMPARISONS[type(operator)]:
                ops = [*node.ops[:at], other(), *node.ops[at + 1 :]]
                self._replace(node, "comparison", ast.unparse(ast.Compare(node.left, ops, node.comparators)))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        """The other operator, and without each of its parts."""
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self._replace(node, "boolean operator", f"({ast.unparse(ast.BoolOp(other, node.values))})")
        for at in range(len(node.values)):
            rest = [*node.values[:at], *node.values[at + 1 :]]
            kept = rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
            self._replace(node, "part of condition removed", f"({ast.unparse(kept)})")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        """Without it."""
        self._replace(node, "negation removed", f"({ast.unparse(node.operand)})")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Another operation; texts are only joined."""
        other = _ARITHMETIC.get(type(node.op))
        if other is not None and not _is_text(node.left) and not _is_text(node.right):
            self._replace(node, "arithmetic", ast.unparse(ast.BinOp(node.left, other(), node.right)))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Swapped neighbours among its arguments; min for max, any for all, unsorted for sorted."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "TypeVar":
            return
        if name in _TWINS:
            keywords = [] if name == "sorted" else node.keywords
            call = ast.Call(ast.Name(_TWINS[name]), node.args, keywords)
            self._replace(node, "other function", ast.unparse(call))
        for at, (one, two) in enumerate(pairwise(node.args)):
            if _is_named(one) and _is_named(two):
                arguments = [*node.args[:at], two, one, *node.args[at + 2 :]]
                self._replace(node, "arguments swapped", ast.unparse(ast.Call(node.func, arguments, node.keywords)))
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """What is no type."""
        if not (isinstance(node.value, ast.Name) and node.value.id in _TYPES):
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """A text for people, nearly always."""

    def visit_Constant(self, node: ast.Constant) -> None:
        """One more, one less; true for false; empty."""
        match node.value:
            case bool():
                self._replace(node, "constant", str(not node.value))
            case int():
                self._replace(node, "constant", str(node.value + 1))
                self._replace(node, "constant", str(node.value - 1) if node.value else "(-1)")
            case str() if node.value and not self._in_raise:
                self._replace(node, "constant", '""')
            case bytes() if node.value:
                self._replace(node, "constant", 'b""')
            case _:
                pass


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


def _is_named(node: ast.expr) -> bool:
    return isinstance(node, ast.Name | ast.Attribute)


def _one_line(text: str) -> str:
    return " ".join(text.split())
