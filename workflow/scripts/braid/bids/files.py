"""File names, inheritance and companions of recordings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braid.common import InputError, read_json

# prefix of each entity in a file name, in the order in which run labels give them
_LABEL = {"session": "ses", "task": "task", "acquisition": "acq", "run": "run"}
_POINTER_SIZE = 1024
_SMALL_POINTERS = {b"/annex/objects/": "git-annex", b"version https://git-lfs": "Git LFS"}


def given(value: Any) -> bool:
    """Tell whether a cell of a table holds something (not None, NaN, `n/a` or empty)."""
    return value is not None and value == value and value not in ("", "n/a")


def entities_of(path: str | os.PathLike[str]) -> dict[str, str]:
    """Entities of a BIDS file name, long names as keys, absent ones left out.

    Entities that are not part of the raw standard (`res`, `label`) keep their short names.
    """
    from mne_bids import get_entities_from_fname

    name = Path(path).name
    found = get_entities_from_fname(name, on_error="ignore", verbose="ERROR")
    return {key: value for key, value in found.items() if value is not None}


def run_label(entities: Mapping[str, str]) -> str:
    """Label of a run, for example `ses-1_task-film_acq-x_run-02`; absent entities left out."""
    return "_".join(
        f"{short}-{entities[long]}" for long, short in _LABEL.items() if given(entities.get(long))
    )


def run_entities(label: str) -> dict[str, str]:
    """Entities named by a run label (inverse of `run_label`), long names as keys."""
    long_names = {short: long for long, short in _LABEL.items()}
    pairs = (part.split("-", 1) for part in label.split("_"))
    return {long_names[short]: value for short, value in pairs}


def fill_pattern(
    pattern: str, run: Any, subject: Any, key: str, further: Mapping[str, str] | None = None
) -> str:
    """Fill the path pattern of the config for one run.

    Placeholders: `{subject}`, `{session}`, `{task}`, `{acquisition}`, `{run}` (the BIDS entities,
    without prefixes) and `{label}` (the whole run label).

    Parameters
    ----------
    pattern : str
    run : str
        Run label.
    subject : str
        Subject label.
    key : str
        Key of the config that holds the pattern, for messages.
    further : mapping, optional
        Further placeholders and their values, such as the hemisphere.

    Raises
    ------
    InputError
        If a placeholder has no value for this run, or the braces do not match.
    """
    values = {**run_entities(str(run)), "subject": str(subject), "label": str(run)}
    values |= further or {}
    try:
        return pattern.format(**values)
    except (KeyError, IndexError) as error:
        raise InputError(
            f"{key}: '{pattern}' has the placeholder {{{error.args[0]}}}, which run {run} does not "
            f"have; those there are: {', '.join(sorted(values))}"
        ) from None
    except ValueError as error:
        raise InputError(f"{key}: '{pattern}' is no path pattern ({error}); correct it") from None


def check_fetched(path: Path) -> None:
    """Raise an `InputError` if `path` is a link or pointer whose content was not fetched.

    Covers git-annex (a broken link into `.git/annex`, or the small text file of an unlocked one),
    DataLad (the same) and Git LFS.
    """
    if path.is_symlink() and not path.exists():
        target = path.readlink().as_posix()
        if "annex/objects" in target:
            raise _not_fetched(path, "git-annex")
        raise InputError(f"{path}: broken link to {target}; restore the file it names")
    if path.is_file() and path.stat().st_size < _POINTER_SIZE:
        with path.open("rb") as stream:
            start = stream.read(64)
        for prefix, system in _SMALL_POINTERS.items():
            if start.startswith(prefix):
                raise _not_fetched(path, system)


def _not_fetched(path: Path, system: str) -> InputError:
    """Error for content that lies elsewhere."""
    command = "git lfs pull" if system == "Git LFS" else f"datalad get {path.name}"
    return InputError(
        f"{path}: {system} file whose content has not been fetched; run `{command}` in its folder"
    )


def folders_for(root: Path, entities: Mapping[str, str], datatype: str) -> list[Path]:
    """Folders in which files that apply to a recording may lie, from the root downwards."""
    folders = [root, root / f"sub-{entities['subject']}"]
    if "session" in entities:
        folders.append(folders[-1] / f"ses-{entities['session']}")
    return [folder for folder in [*folders, folders[-1] / datatype] if folder.is_dir()]


def companion(
    root: Path,
    entities: Mapping[str, str],
    datatype: str,
    ending: str,
    extra: Mapping[str, str | None] | None = None,
) -> Path | None:
    """Find the most specific file that applies to a recording by the inheritance principle.

    Parameters
    ----------
    root : pathlib.Path
        Root to search (raw data set or derivative).
    entities : mapping
        Entities of the recording.
    datatype : str
        Folder of the recording: `ieeg` or `func`.
    ending : str
        Suffix and extension, for example `events.tsv`.
    extra : mapping, optional
        Entities that the file may carry and the recording need not; a value of None accepts any,
        text is required.

    Returns
    -------
    pathlib.Path or None
        The nearest and most specific one; among equals the first by name.
    """
    extra = dict(extra or {})
    found: list[tuple[int, int, Path]] = []
    for depth, folder in enumerate(folders_for(root, entities, datatype)):
        for path in sorted(folder.glob(f"*_{ending}")) + sorted(folder.glob(ending)):
            own = entities_of(path)
            required = {key: value for key, value in extra.items() if value is not None}
            if any(own.get(key) != value for key, value in required.items()):
                continue
            shared = {key: value for key, value in own.items() if key not in extra}
            if applies(shared, entities):
                found.append((-depth, -len(shared), path))
    return min(found)[2] if found else None


def applies(own: Mapping[str, str], entities: Mapping[str, str]) -> bool:
    """Tell whether a file with entities `own` applies to a recording with these entities."""
    return all(_same(key, entities.get(key), value) for key, value in own.items())


def _same(entity: str, one: str | None, other: str | None) -> bool:
    """Compare two values of an entity; `run-1` and `run-01` are the same run."""
    if entity == "run" and one and other and one.isdigit() and other.isdigit():
        return int(one) == int(other)
    return one == other


def metadata_of(
    root: Path, entities: Mapping[str, str], datatype: str, suffix: str
) -> dict[str, Any]:
    """Merge the JSON sidecars that apply to a recording, the more specific ones last."""
    merged: dict[str, Any] = {}
    for folder in folders_for(root, entities, datatype):
        candidates = sorted(folder.glob(f"*_{suffix}.json")) + sorted(folder.glob(f"{suffix}.json"))
        applicable = []
        for path in candidates:
            own = entities_of(path)
            if applies(own, entities):
                applicable.append((len(own), path))
        for _, path in sorted(applicable):
            check_fetched(path)
            merged.update(read_json(path))
    return merged


def relative(path: Path | None, root: Path) -> str | None:
    """Path relative to the root, with forward slashes; also for files outside the root."""
    return None if path is None else Path(os.path.relpath(path, root)).as_posix()
