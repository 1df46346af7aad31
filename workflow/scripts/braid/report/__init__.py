"""The report: figures, brain maps, methods text and one self-contained HTML file.

Importing this room is cheap: matplotlib, nilearn and jinja2 are loaded when a report is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["make_report"]


def make_report(
    results: Path, config: Mapping[str, Any], out: Path, figures: Path, n_jobs: int = 1
) -> None:
    """Write the report of one study: an HTML file that needs nothing beside it, and its figures.

    Parameters
    ----------
    results : pathlib.Path
        Folder of the study's results (`results/{study}`), with the files that
        `workflow/README.md` lists. What is absent is named in the report in place of its figure;
        only `tables/sites.tsv` is required.
    config : mapping
        The study's config as `braid.config.prepare` gives it: validated, with defaults, and the
        registry's entries of its networks under `registry`.
    out : pathlib.Path
        The HTML file to write.
    figures : pathlib.Path
        Folder for the figures, one PNG and one SVG each, named `{analysis}__{figure}`,
        `{transfer}__transfer` (and `_map`, `_layers`, `_matrix`, `_times`),
        `{components}__component_{number}`, `{shared}__shared_{side}_{number}` or
        `{integration}__integration_{figure}`; of the whole study `study__{figure}`.
    n_jobs : int
        Processes that draw; files and page do not depend on it.

    Raises
    ------
    InputError
        If `tables/sites.tsv` is absent or lacks a column, or the config names no analysis.
    """
    from braid.report.page import write_report

    write_report(Path(results), config, Path(out), Path(figures), n_jobs)
