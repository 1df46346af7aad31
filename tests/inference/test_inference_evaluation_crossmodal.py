"""Transfers between senses against the planted truth: what counts as found, and as a mistake."""

import numpy as np
import pandas as pd
import pytest

from braid.common import InputError
from braid.inference import EVALUATION_COLUMNS, evaluate_ceilings, evaluate_crossmodal

KINDS = ["shared"] * 20 + ["inverted"] * 10 + ["vision"] * 40 + ["language"] * 40 + ["silent"] * 60
PAIRS = ("one", "two")


def truth():
    return pd.DataFrame(
        {
            "kind_of_recording": "bold",
            "subject": "04",
            "site": [f"v{number}" for number in range(len(KINDS))],
            "kind": KINDS,
            "clear": [kind != "silent" for kind in KINDS],
        }
    )


def table(**changes):
    """A perfect result: shared voxels found raw, inverted ones with the sign of the other runs."""
    rng = np.random.default_rng(0)
    parts = []
    for pair in PAIRS:
        for tuning in ("none", "sign_loo"):
            right = {"shared"} | ({"inverted"} if tuning == "sign_loo" else set())
            sign = {"shared": 1, "inverted": 1 if tuning == "sign_loo" else -1}
            hit = np.array([kind in right for kind in KINDS])
            size = 0.5 if pair == "one" else 0.3
            parts.append(
                pd.DataFrame(
                    {
                        "transfer": "there", "subject": "04", "site": truth()["site"],
                        "model": pair, "tuning": tuning,
                        "score": [size * sign.get(kind, 0) for kind in KINDS]
                        + 0.01 * rng.standard_normal(len(KINDS)),
                        "p": np.where(hit, 0.001, 0.5), "significant": hit,
                    }
                )
            )  # fmt: skip
    found = pd.concat(parts, ignore_index=True)
    for column, (rows, value) in changes.items():
        found.loc[rows(found), column] = value
    return found


def checks(found, multimodal="one"):
    made = evaluate_crossmodal({"there": found}, truth(), {"there": multimodal})
    assert list(made.columns) == list(EVALUATION_COLUMNS)
    assert set(made["stage"]) == {"crossmodal_transfer"}
    return made.set_index(made["measure"].str.removeprefix("there: "))


def of_kind(kind, pair=None, tuning="none"):
    names = truth().set_index("site")["kind"]
    return lambda rows: (
        (rows["site"].map(names) == kind)
        & (rows["tuning"] == tuning)
        & (True if pair is None else rows["model"] == pair)
    )


def test_a_perfect_result_passes_every_check():
    made = checks(table())
    assert made["pass"].all(), made.to_string()
    assert made.loc["share of 20 clearly driven shared voxels found", "value"] == 1
    assert made.loc["one minus two, mean r over 20 shared voxels", "value"] == pytest.approx(
        0.2, abs=0.02
    )
    # two pairs: three kinds, by p and by q; and silent voxels once more with the sign
    assert made.index.str.contains("voxels (?:with p|called significant)").sum() == 14


@pytest.mark.parametrize(
    ("changes", "measure"),
    [
        ({"significant": (of_kind("shared"), False)}, "clearly driven shared voxels found"),
        ({"p": (of_kind("vision", "two"), 0.01)}, "40 vision voxels with p <= .05 by two"),
        ({"significant": (of_kind("language", "one"), True)},
         "40 language voxels called significant by one"),
        ({"score": (of_kind("inverted"), 0.1)}, "inverted voxels with a negative raw score"),
        ({"significant": (of_kind("inverted", tuning="sign_loo"), False)},
         "inverted voxels found with the sign of the other runs"),
        ({"significant": (of_kind("silent", "two", "sign_loo"), True)},
         "60 silent voxels called significant by two with the sign of the other runs"),
        ({"score": (of_kind("shared", "one"), 0.1)}, "one minus two, mean r over 20 shared voxels"),
    ],
)  # fmt: skip
def test_each_fault_fails_its_own_check(changes, measure):
    made = checks(table(**changes))
    failed = made[~made["pass"]]
    assert len(failed) == 1 and failed.index.str.contains(measure, regex=False).all(), failed


def test_pairs_are_compared_only_with_one_that_is_multimodal():
    assert not checks(table(), "").index.str.contains("minus").any()


def test_voxels_without_a_truth_are_refused():
    with pytest.raises(InputError, match="none of the sites of transfer 'there' is in it"):
        evaluate_crossmodal({"there": table().assign(subject="09")}, truth(), {})


def ceilings(error=1.0, shift=0.0, n=400):
    """Estimates with errors of the expected size (times `error`), and their truth."""
    rng = np.random.default_rng(3)
    driven = np.arange(n) < n // 4
    true, sd = np.where(driven, rng.uniform(0.05, 0.7, n), 0.0), np.where(driven, 0.08, 0.1)
    sites = [f"v{number}" for number in range(n)]
    planted = {"repeated_signal": true, "repeated_sd": sd}
    table = pd.DataFrame({"subject": "04", "site": sites})
    noise = error * sd * rng.standard_normal(n) + shift
    found = table.drop(columns="subject").assign(signal=true + noise)
    return {("seen", "04"): found}, table.assign(**planted)


def test_ceilings_with_the_expected_errors_pass():
    made = evaluate_ceilings(*ceilings())
    assert made["pass"].all(), made.to_string()
    assert len(made) == 4 and set(made["stage"]) == {"crossmodal_transfer"}


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({"error": 1.6}, ["driven voxels whose", "silent voxels whose", "r of estimated"]),
        ({"shift": 0.03}, ["mean share of signal over 300 silent"]),
        ({"shift": 0.2}, ["driven voxels whose", "silent voxels whose", "mean share"]),
    ],
)
def test_ceilings_with_other_errors_fail(change, failing):
    made = evaluate_ceilings(*ceilings(**change))
    failed = made.loc[~made["pass"], "measure"].tolist()
    assert len(failed) == len(failing)
    assert all(any(part in measure for measure in failed) for part in failing), failed


def test_ceilings_need_a_truth_of_their_voxels():
    tables, planted = ceilings()
    assert evaluate_ceilings(tables, planted.drop(columns="repeated_sd")).empty
    with pytest.raises(InputError, match="none of the sites with a ceiling of analysis 'seen'"):
        evaluate_ceilings(tables, planted.assign(subject="05"))
