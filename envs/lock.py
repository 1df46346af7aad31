"""Resolve every version anew: `requirements.lock` and the pip sections of `envs/*.yaml`.

`make lock` runs this. Each environment names what its scripts import in `envs/*.in`; what these
need in turn comes from `requirements.lock`, so that a rule sees the same versions in its own
environment as in the main one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK = HERE.parent / "requirements.lock"
PYTHON = "3.11"
HEADER = """\
# Written by envs/lock.py (`make lock`) from {name}.in and requirements.lock: do not edit.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python={python}
  - pip
  - pip:
"""


def compiled(*arguments: str) -> list[str]:
    """Pinned requirements, one `name==version[ ; marker]` each, as uv resolves them."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal"]
    command += ["--python-version", PYTHON, "--fork-strategy", "fewest", "--no-annotate"]
    command += ["--no-header", "--no-emit-index-url", *arguments]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def main() -> None:
    """Write the lock, then each environment from it."""
    pins = compiled(str(HERE.parent / "pyproject.toml"), "--extra", "test", *sys.argv[1:])
    LOCK.write_text(
        "# Written by envs/lock.py (`make lock`) from pyproject.toml: do not edit.\n"
        + "\n".join(pins)
        + "\n"
    )
    for source in sorted(HERE.glob("*.in")):
        pins = compiled(str(source), "--constraint", str(LOCK), *sys.argv[1:])
        text = HEADER.format(name=source.stem, python=PYTHON)
        source.with_suffix(".yaml").write_text(text + "".join(f"      - {pin}\n" for pin in pins))


if __name__ == "__main__":
    main()
