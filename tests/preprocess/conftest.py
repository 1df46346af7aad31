"""Writers of tiny iEEG and BOLD data sets with known content."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from braid.bids import index_dataset


@pytest.fixture
def ieeg(tmp_path: Path) -> Callable[..., tuple[pd.DataFrame, Path]]:
    """Write recordings (run label -> channel -> samples in uV); gives index and root."""

    def write(
        runs: Mapping[str, Mapping[str, np.ndarray]],
        rate: float,
        status: Mapping[str, str] | None = None,
        types: Mapping[str, str] | None = None,
        electrodes: str | None = None,
        unit: str = "mm",
    ) -> tuple[pd.DataFrame, Path]:
        from pybv import write_brainvision

        folder = tmp_path / "ieeg" / "sub-01" / "ieeg"
        for run, channels in runs.items():
            stem = f"sub-01_{run}"
            write_brainvision(
                data=1e-6 * np.array(list(channels.values())),
                sfreq=rate,
                ch_names=list(channels),
                fname_base=f"{stem}_ieeg",
                folder_out=str(folder),
                fmt="binary_float32",
            )
            rows = ["name\ttype\tunits\tstatus\tstatus_description"]
            for name in channels:
                kind = (types or {}).get(name, "SEEG")
                state = (status or {}).get(name, "good")
                why = "seizure onset" if state == "bad" else "n/a"
                rows.append(f"{name}\t{kind}\tuV\t{state}\t{why}")
            text = "\ufeff" + "\n".join(rows) + "\n"
            (folder / f"{stem}_channels.tsv").write_text(text, encoding="utf-8")
        if electrodes:
            (folder / "sub-01_electrodes.tsv").write_text(electrodes)
            system = {"iEEGCoordinateSystem": "ACPC", "iEEGCoordinateUnits": unit}
            (folder / "sub-01_coordsystem.json").write_text(json.dumps(system))
        spec = {
            "root": tmp_path / "ieeg",
            "kind": "ieeg",
            "subjects": ["01"],
            "preprocess": {"resample": 1},
        }
        return index_dataset("seeg", spec), tmp_path / "ieeg"

    return write


@pytest.fixture
def bold(tmp_path: Path) -> Callable[..., tuple[pd.DataFrame, Path]]:
    """Write BOLD runs (run label -> (i, j, k, volume)); gives index and root."""

    def write(
        runs: Mapping[str, np.ndarray],
        tr: float = 2.0,
        affine: np.ndarray | None = None,
        files: Mapping[str, str] | None = None,
    ) -> tuple[pd.DataFrame, Path]:
        import nibabel as nib

        root = tmp_path / "bold"
        folder = root / "sub-01" / "func"
        folder.mkdir(parents=True, exist_ok=True)
        affine = np.diag([5.0, 5, 5, 1]) if affine is None else affine
        for run, data in runs.items():
            image = nib.Nifti1Image(data.astype(np.float32), affine)
            image.header.set_xyzt_units("mm", "sec")
            image.header["pixdim"][4] = tr
            nib.save(image, folder / f"sub-01_{run}_bold.nii.gz")
            sidecar = json.dumps({"RepetitionTime": tr})
            (folder / f"sub-01_{run}_bold.json").write_text(sidecar)
        for name, content in (files or {}).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
        return index_dataset("bold", {"root": root, "kind": "bold", "subjects": ["01"]}), root

    return write
