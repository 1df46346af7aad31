"""What the writer refuses, and that it leaves nothing half-written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_world import small_spec

from braid.common import InputError
from braid.simulate import World, dataset, make_world, write_dataset

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(small_spec(), 5)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.pop("ieeg") and s.pop("bold"), "neither 'ieeg' nor 'bold'"),
        (lambda s: s["ieeg"].update(subject=["01"]), "'ieeg.subject' is not a key; .*'subjects'"),
        (lambda s: s["bold"].pop("noise"), "'bold.noise' is missing"),
        (lambda s: s["ieeg"].update(film="cinma"), "'ieeg.film' names 'cinma'.* cinema"),
        (lambda s: s["bold"].update(stories=["x"]), "'bold.stories' names 'x'.* story-1"),
        (lambda s: s["bold"].update(films=[]), "'bold.films' is empty"),
        (lambda s: s["bold"].update(subjects=["01", "01"]), "'bold.subjects' names a .* twice"),
        (lambda s: s["bold"].update(subjects=[1]), "'bold.subjects' is \\[1\\]; .* in quotes"),
        (lambda s: s["ieeg"].update(subjects=["a_1"]), "letters and digits"),
        (lambda s: s["ieeg"].update(snr=[0.5, 0.1]), "'ieeg.snr' must be two positive .* lowest"),
        (lambda s: s["ieeg"].update(noise_sd="loud"), "'ieeg.noise_sd' is 'loud'; give a number"),
        (lambda s: s["ieeg"].update(patch=4), "'ieeg.patch' must be"),
        (lambda s: s["ieeg"].update(responds_to=["scene_cut"]), "'ieeg.responds_to' is .*word"),
        (lambda s: s["ieeg"].update(responds_to=["word", "cut"]), "'ieeg.responds_to' is .*cut"),
        (lambda s: s["bold"].update(repetition_time=0), "'bold.repetition_time' must be above"),
        (lambda s: s["bold"].update(autocorrelation=1), "'bold.autocorrelation' must lie"),
        (lambda s: s["bold"]["driven"].pop("sum"), "'bold.driven' needs one number for each of"),
        (lambda s: s["bold"]["driven"].update(sum=999), "'bold.driven' asks for .* has"),
    ],
)
def test_wrong_description_is_refused_before_work(
    world: World, tmp_path: Path, edit: Edit, message: str
) -> None:
    spec = small_spec()
    edit(spec)
    with pytest.raises(InputError, match=message):
        write_dataset(world, spec, 5, tmp_path / "bids", tmp_path / "truth.tsv")
    assert list(tmp_path.iterdir()) == []


def test_truth_must_lie_outside(world: World, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="outside the data set"):
        write_dataset(world, world.spec, 5, tmp_path / "bids", tmp_path / "bids" / "truth.tsv")


def test_foreign_folder_is_not_replaced(world: World, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="is not a data set made here"):
        write_dataset(world, world.spec, 5, tmp_path, tmp_path.parent / "truth.tsv")
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_own_data_set_is_replaced(world: World, tmp_path: Path) -> None:
    spec = small_spec()
    del spec["bold"]
    spec["ieeg"]["subjects"] = ["01", "02"]
    write_dataset(world, spec, 5, tmp_path / "bids", tmp_path / "truth.tsv")
    spec["ieeg"]["subjects"] = ["01"]
    write_dataset(world, spec, 5, tmp_path / "bids", tmp_path / "truth.tsv")
    assert [path.name for path in (tmp_path / "bids").glob("sub-*")] == ["sub-01"]


def test_interrupted_writing_leaves_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(dataset, "write_bold", fail)
    with pytest.raises(OSError, match="disk full"):
        write_dataset(world, world.spec, 5, tmp_path / "bids", tmp_path / "truth.tsv")
    assert list(tmp_path.iterdir()) == []
