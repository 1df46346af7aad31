"""braid on the command line: share a finished study, verify what another has shared.

    braid share --configfile config/studies/haxby.yaml
    braid verify haxby.zip [--against results/haxby] [--rtol 1e-5]

Both are given in the root of a clone. `verify` ends with 0 if all numbers are equal, 1 if some
differ, 2 if something is missing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from braid.common import BraidError, InputError
from braid.sharing import Verdict, share_study, verify_archive
from braid.sharing.tables import Tolerance
from braid.sharing.verify import NOT_COMPARED


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says and give the exit status."""
    parser = argparse.ArgumentParser(prog="braid", description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    sharing = verbs.add_parser("share", help="write one archive of a finished study")
    sharing.add_argument("--configfile", type=Path, default=Path("config/config.yaml"))
    sharing.add_argument(
        "--config", nargs="*", default=[], metavar="KEY=VALUE", help="as given to snakemake"
    )
    sharing.add_argument("--out", type=Path, help="the archive (default: results/STUDY.zip)")
    sharing.add_argument("--license", help="licence of the results: a URL, or text")
    verifying = verbs.add_parser("verify", help="compare an archive with a run here")
    verifying.add_argument("archive", type=Path)
    verifying.add_argument("--against", type=Path, help="folder of the run's results")
    verifying.add_argument(
        "--rtol", type=float, default=0.0, help="equal if |here - archive| <= atol + rtol |archive|"
    )
    verifying.add_argument("--atol", type=float, default=0.0, help="with both 0: equal text")
    verifying.add_argument("--show", type=int, default=3, help="cells to name per column")
    given = parser.parse_args(arguments)
    try:
        return _share(given) if given.verb == "share" else _verify(given)
    except BraidError as error:
        print(f"braid: {error}", file=sys.stderr)
        return 2


def _share(given: argparse.Namespace) -> int:
    out = share_study(
        given.configfile,
        _summary(given.configfile, given.config),
        version("snakemake"),
        out=given.out,
        overrides=_overrides(given.config),
        license_=given.license,
    )
    print(f"Archive: {out} ({out.stat().st_size / 1e6:.1f} MB)")
    return 0


def _summary(configfile: Path, config: Sequence[str]) -> str:
    """Ask Snakemake what it knows of every output, and whether it would make it anew."""
    command = [sys.executable, "-m", "snakemake", "--detailed-summary", "--nolock"]
    command += ["--configfile", str(configfile), *(["--config", *config] if config else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise InputError(f"{configfile}: cannot be planned ({said[-1] if said else 'no message'})")
    return done.stdout


def _overrides(config: Sequence[str]) -> dict[str, Any]:
    pairs = [entry.partition("=") for entry in config]
    for key, separator, _ in pairs:
        if not separator:
            raise InputError(f"--config {key}: give it as KEY=VALUE")
    return {key: yaml.safe_load(value) for key, _, value in pairs}


def _verify(given: argparse.Namespace) -> int:
    tolerance = Tolerance(given.rtol, given.atol)
    verdict = verify_archive(given.archive, given.against, tolerance, given.show)
    print("\n".join(_lines(verdict, tolerance)))
    return verdict.status


def _lines(verdict: Verdict, tolerance: Tolerance) -> list[str]:
    """Say what a comparison found, for a person."""
    lines = [f"missing here: {name}" for name in verdict.missing]
    for difference in verdict.differences:
        lines.append(f"{difference.file}: {difference.what}")
        lines += [f"  {example}" for example in difference.examples]
    lines += [f"note: {note}" for note in verdict.notes]
    how = "exact" if tolerance.exact else f"rtol {tolerance.rtol:g}, atol {tolerance.atol:g}"
    lines.append(f"not compared: {NOT_COMPARED}")
    unequal = len({difference.file for difference in verdict.differences})
    lines.append(
        f"{verdict.compared} files compared ({how}): {unequal} differ, "
        f"{len(verdict.missing)} missing"
    )
    return lines


if __name__ == "__main__":
    sys.exit(main())
