"""Importer of ds003020 (LeBel et al. 2023): people who listen to stories, as ready arrays."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from braid.bids.importers.arrays import (
    Person,
    Run,
    check_place,
    check_voxels,
    chosen,
    hdf5_rows,
    label_of,
    open_hdf5,
    write_people,
)
from braid.bids.importers.options import ArrayOptions
from braid.bids.importers.stories import (
    CUT,
    Story,
    check_inside,
    check_rows,
    checked_repetition_time,
    read_respdict,
    read_story,
    story_events,
    story_measures,
    story_start,
    write_story,
)

_KEY = "data"
_DESCRIPTION = {
    "Name": "LeBel et al. 2023: stories (ds003020, ready arrays)",
    "License": "CC0",
    "HowToAcknowledge": "Cite LeBel et al. 2023, Scientific Data",
    "SourceDatasets": [{"DOI": "doi:10.18112/openneuro.ds003020"}],
}
_README = """\
# LeBel et al. 2023, imported by braid

fMRI of people who listen to spoken stories (OpenNeuro ds003020, CC0), from the responses that its
authors preprocessed. Values are theirs, as float32. The arrays lack the first and the last 10
volumes of each scan, so that their first row is not the start of the story: it starts 10 volumes
less 10 s later, 10.045 s at 2.0045 s a volume. Words said before have negative onsets. The marks of
pauses, breath, noise and sentence borders are left out.
"""


def import_ds003020(source: Path, out: Path, options: ArrayOptions | None = None) -> pd.DataFrame:
    """Turn the ready arrays of ds003020 into a data set of kind `parcels`.

    Parameters
    ----------
    source : path
        Root of ds003020 with `derivative/preprocessed_data`, `derivative/TextGrids` and
        `derivative/respdict.json` fetched; not changed.
    out : path
        Root of the new data set: new, empty, or made by this function.
    options : ArrayOptions, optional

    Returns
    -------
    pandas.DataFrame
        Columns `run measure value`.

    Raises
    ------
    InputError
        If a file is missing or damaged, or an array is not as long as features of its story.
    """
    source, out, options = Path(source), Path(out), options or ArrayOptions()
    folder = source / "derivative"
    people = chosen(_people(folder / "preprocessed_data"), options.subjects, source)
    check_place(out, [source], [f"{number:02d}" for number in people], str(_DESCRIPTION["Name"]))
    respdict = folder / "respdict.json"
    scanned = read_respdict(respdict)
    tr = checked_repetition_time(options.repetition_time)
    known: dict[str, Story] = {}
    plans = []
    for number, name in people.items():
        runs = []
        for path in sorted((folder / "preprocessed_data" / name).glob("*.hf5")):
            rows, voxels = open_hdf5(path, _KEY, 2)
            check_rows(path.stem, rows, scanned.get(path.stem), path, respdict)
            if path.stem not in known:
                known[path.stem] = read_story(folder / "TextGrids", path.stem)
            runs.append(_run(path, known[path.stem], rows, voxels, tr))
        check_voxels(runs)
        plans.append(Person(f"{number:02d}", name, runs, pd.DataFrame()))
    for story in known.values():
        write_story(out, story)
    return write_people(out, plans, _DESCRIPTION, _README)


def _people(folder: Path) -> dict[int, str]:
    """Subjects that have arrays, by number: `UTS01`, `UTS02`, ..."""
    names = sorted(path.parent.name for path in folder.glob("UTS*/*.hf5"))
    return {int(name[3:]): name for name in dict.fromkeys(names) if name[3:].isdigit()}


def _run(path: Path, story: Story, rows: int, voxels: int, tr: float) -> Run:
    """Plan one run."""
    start = story_start(tr)
    check_inside(story, start, rows * tr, CUT[0] * tr, CUT[1] * tr)
    blocks: partial[Iterator[np.ndarray]] = partial(hdf5_rows, path, _KEY)
    return Run(
        label=f"task-story_acq-{label_of(story.name)}",
        n_volumes=rows,
        n_voxels=voxels,
        repetition_time=tr,
        blocks=blocks,
        events=story_events(story, start),
        origin=path,
        discarded=CUT,
        measures=story_measures(story, start),
    )
