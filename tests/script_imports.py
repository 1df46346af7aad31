"""What the scripts of the rules import, found in their source: library modules and packages.

Nothing is imported here. A script's names are followed to the functions that they stand for, and
from these on, so that what a function imports counts where the function can be called, and only
there. Methods count with their class. A name that is a string, as in `import_module(f"...{name}")`,
stands for every module of the package that the file names in a string.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "workflow" / "rules"
SCRIPTS = ROOT / "workflow" / "scripts"


def scripts_of_environments() -> dict[str, set[str]]:
    """Environments and the scripts (without `.py`) of the rules that name them."""
    found: dict[str, set[str]] = {}
    common = (RULES / "common.smk").read_text()
    chosen = re.search(r"^def ridge_environment.*?(?=^\S)", common, flags=re.MULTILINE | re.DOTALL)
    assert chosen, "common.smk: no function ridge_environment"
    for path in RULES.glob("*.smk"):
        for rule in re.split(r"^ *rule \w+:\n", path.read_text(), flags=re.MULTILINE)[1:]:
            script = re.search(r'"\.\./scripts/(\w+)\.py"', rule)
            conda = re.search(r"^ *conda:\n *(.*)$", rule, flags=re.MULTILINE)
            assert script and conda, f"{path.name}: a rule without script or environment"
            named = chosen[0] if "ridge_environment(" in conda[1] else conda[1]
            for environment in re.findall(r"envs/(\w+)\.yaml", named):
                found.setdefault(environment, set()).add(script[1])
    return found


@cache
def reached_from(script: str) -> tuple[set[str], set[str]]:
    """Modules of the library, and modules of packages, that a script may import."""
    foreign: set[str] = set()
    done: set[tuple[str, str]] = set()
    queue = [(script, "")]
    while queue:
        module, name = queue.pop()
        if (module, name) in done:
            continue
        done.add((module, name))
        if module.split(".")[0] != "braid" and module != script:
            foreign.add(module)
            continue
        source = _source(module)
        if not name:
            # importing a module imports the packages that it is in
            queue += [(module.rsplit(".", 1)[0], "")] if "." in module else []
            queue += source.whenever
        elif name in source.origins:
            queue += [(source.origins[name][0], ""), source.origins[name]]
        queue += source.uses.get(name, [])
    own = {module for module, _ in done if module.split(".")[0] == "braid"}
    return own, {name for name in foreign if name.split(".")[0] not in sys.stdlib_module_names}


@dataclass
class Source:
    """What a module imports and uses.

    Attributes
    ----------
    whenever : list of (module, name)
        What importing it imports or uses.
    origins : dict
        Names that it imports: their module, and their name there ("" for a module itself).
    uses : dict
        Each of its functions, classes and variables: what that imports or uses.
    """

    whenever: list[tuple[str, str]] = field(default_factory=list)
    origins: dict[str, tuple[str, str]] = field(default_factory=dict)
    uses: dict[str, list[tuple[str, str]]] = field(default_factory=dict)


def _parsed(module: str) -> ast.Module:
    path = SCRIPTS.joinpath(*module.split("."))
    return ast.parse(
        (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    )


@cache
def _source(module: str) -> Source:
    tree, found = _parsed(module), Source()
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            # doors that are loaded when they are first used
            for inner in node.body:
                found.origins.update(_bound(inner))
    for node in _runtime(tree.body):
        bound = _bound(node)
        found.origins.update(bound)
        found.whenever += [(origin, "") for origin, _ in bound.values()]
    for node in _runtime(tree.body):
        references = list(_references(node, module, found.origins))
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.uses[node.name] = references
        else:
            found.whenever += references
            for target in _assigned(node):
                found.uses[target] = references
    return found


def _runtime(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module; of `if TYPE_CHECKING` the other branch."""
    for node in body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from node.orelse
        else:
            yield node


def _bound(node: ast.AST) -> dict[str, tuple[str, str]]:
    """Names that an import binds, and what they stand for."""
    if isinstance(node, ast.Import):
        return {
            # `import a.b` binds `a`, and imports both
            (alias.asname or alias.name): (alias.name, "")
            for alias in node.names
        }
    if isinstance(node, ast.ImportFrom) and node.module:
        return {
            alias.asname or alias.name: _member(node.module, alias.name) for alias in node.names
        }
    return {}


def _member(package: str, name: str) -> tuple[str, str]:
    """A name of a package: what it defines or imports, else one of its modules."""
    if package.split(".")[0] != "braid":
        return package, ""
    folder = SCRIPTS.joinpath(*package.split("."))
    if not folder.is_dir() or name in {**_source(package).origins, **_source(package).uses}:
        return package, name
    is_module = (folder / name).is_dir() or (folder / f"{name}.py").is_file()
    return (f"{package}.{name}", "") if is_module else (package, name)


def _assigned(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _references(
    node: ast.AST, module: str, origins: dict[str, tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """What a statement imports and which names it uses, at any depth."""
    local = dict(origins)
    for inner in ast.walk(node):
        bound = _bound(inner)
        local.update(bound)
        yield from ((origin, "") for origin, _ in bound.values())
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            yield local.get(inner.id, (module, inner.id))
        elif isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
            origin, name = local.get(inner.value.id, (module, "?"))
            if not name and origin.split(".")[0] == "braid":
                yield _member(origin, inner.attr)
        elif isinstance(inner, ast.Call) and ast.unparse(inner.func).endswith("import_module"):
            yield from _by_string(ast.unparse(inner.args[0]), module)


def _by_string(argument: str, module: str) -> Iterator[tuple[str, str]]:
    """Modules of a package that a file names in strings, with all that they define."""
    package = re.match(r"f?'(braid\.[\w.]+)\.\{", argument)
    if package is None:
        return
    folder = SCRIPTS.joinpath(*package[1].split("."))
    strings = {
        node.value
        for node in ast.walk(
            ast.parse(SCRIPTS.joinpath(*module.split(".")).with_suffix(".py").read_text())
        )
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    for path in folder.glob("*.py"):
        if path.stem in strings:
            named = f"{package[1]}.{path.stem}"
            yield named, ""
            yield from ((named, name) for name in _source(named).uses)
