"""The workflow as text and as a plan: linter, formatter, what every rule declares."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
SCRIPTS = sorted((ROOT / "workflow" / "scripts").glob("*.py"))
LIBRARY = ROOT / "workflow" / "scripts" / "braid"
ROOMS = [
    "simulate",
    "bids",
    "preprocess",
    "stimuli",
    "models",
    "features",
    "encoding",
    "inference",
    "transfer",
    "concepts",
    "probe",
    "report",
    "sharing",
]
KEYWORDS = [
    "input",
    "output",
    "params",
    "log",
    "benchmark",
    "threads",
    "resources",
    "conda",
    "script",
]


def rules_of(path):
    """Text of each rule of a file."""
    parts = re.split(r"^ *rule (\w+):\n", path.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


ALL_RULES = {name: text for path in RULES for name, text in rules_of(path).items()}


@pytest.mark.parametrize("name", ALL_RULES)
def test_every_rule_declares_all_it_must(name):
    for keyword in KEYWORDS:
        assert re.search(rf"^ +{keyword}:", ALL_RULES[name], flags=re.MULTILINE), keyword
    for resource in ("mem_mb=", "runtime=", "code=rooms("):
        assert resource in ALL_RULES[name]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_are_small_and_hold_no_science(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 50
    imports = set(re.findall(r"^(?:import|from) (\w+)", text, flags=re.MULTILINE))
    assert imports <= {"braid", "logging", "pandas", "pathlib"}
    assert f'"../scripts/{path.name}"' in "".join(ALL_RULES.values())


def imported(path):
    """Rooms of braid that a module imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("braid."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("braid."):
                    yield alias.name.split(".")[1]


@pytest.mark.parametrize("room", ["common", *(r for r in ROOMS if (LIBRARY / r).is_dir())])
def test_a_room_imports_only_from_rooms_before_it(room):
    before = {"common", *ROOMS[: ROOMS.index(room) + 1]} if room in ROOMS else {"common"}
    for path in (LIBRARY / room).rglob("*.py"):
        assert set(imported(path)) - {"config"} <= before, path
        assert "snakemake" not in re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(), re.M)


def test_no_input_is_ancient():
    """Snakemake asks no job behind a pending one for changes; an ancient input then hides them."""
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        assert "ancient(" not in path.read_text(), path.name


def names_from(script: Path, module: str) -> list[str]:
    """Names that a script imports from a module."""
    nodes = ast.walk(ast.parse(script.read_text()))
    found = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.module == module]
    return [alias.name for node in found for alias in node.names]


def test_a_rule_carries_the_digest_of_the_rooms_that_its_script_opens():
    for name, text in ALL_RULES.items():
        script = ROOT / "workflow" / "scripts" / re.search(r'scripts/(\w+\.py)"', text).group(1)
        declared = re.findall(r'"([\w.]+)"', re.search(r"code=rooms\((.*?)\)", text).group(1))
        rooms = {part.split(".")[0] for part in declared}
        assert rooms == set(imported(script)) - {"config", "common"}, name
        for room in {part.split(".")[0] for part in declared if "." in part}:
            # modules stand for a room only where the script takes nothing else of it
            modules = {part.split(".")[1] for part in declared if part.startswith(f"{room}.")}
            doors = importlib.import_module(f"braid.{room}")
            for door in names_from(script, f"braid.{room}"):
                assert getattr(doors, door).__module__.split(".")[-1] in modules, (name, door)


def test_lint(snakemake):
    done = snakemake("--lint")
    assert "in a good condition" in done.stderr


def test_format():
    command = [sys.executable, "-m", "snakefmt", "--check", "Snakefile", "workflow/rules"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_dry_run_lists_each_job_and_why(snakemake, tmp_path):
    done = snakemake("--dry-run", "--cores", "1", "--config", f"results={tmp_path}")
    text = done.stdout + done.stderr
    for name in ("simulate", "preprocess_ieeg", "features", "fit", "permute", "evaluate", "report"):
        assert re.search(rf"^{name} +\d+$", text, flags=re.MULTILINE), name
    reasons = re.findall(r"^    reason: (.*)$", text, flags=re.MULTILINE)
    jobs = len(re.findall(r"^    jobid: ", text, flags=re.MULTILINE))
    assert len(reasons) == jobs > 50
    assert not list(tmp_path.rglob("*.tsv"))


def test_no_path_of_a_machine_is_in_the_tree():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".py", ".smk", ".yaml", ".yml", ".toml", ".md", ".lock", ".in"}:
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"/(?:home|root|work)/\w|--(?:extra-)?index-url \S", text), name
