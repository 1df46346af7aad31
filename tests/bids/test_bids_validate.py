"""The official validator's verdict."""

from __future__ import annotations

import pytest

from braid.bids import validate
from braid.common import InputError


def test_valid_data_set(shared_data):
    verdict = validate(shared_data / "haxby_bids")
    assert verdict["valid"] and verdict["errors"] == []
    assert {issue["code"] for issue in verdict["warnings"]} == {
        "JSON_KEY_RECOMMENDED",
        "SIDECAR_KEY_RECOMMENDED",
    }
    assert all(issue["count"] > 0 for issue in verdict["warnings"])
    assert verdict["validator"].startswith("bids-validator-deno ")


def test_invalid_data_set(shared_data):
    verdict = validate(shared_data / "ieeg_podcast_skeleton")
    assert not verdict["valid"]
    orphans = [e for e in verdict["errors"] if e["code"] == "SIDECAR_WITHOUT_DATAFILE"]
    assert len(orphans) == 9
    assert orphans[0]["location"].endswith("_ieeg.json") and orphans[0]["message"]


def test_missing_root(tmp_path):
    with pytest.raises(InputError, match="no such BIDS root"):
        validate(tmp_path / "nowhere")
