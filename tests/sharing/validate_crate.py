"""Validate RO-Crates with roc-validator, without the network; runs in an environment of its own.

    python validate_crate.py SEVERITY CRATE...    prints its findings as JSON, a list per crate

The validator fetches RO-Crate's JSON-LD context, which no package ships for version 1.1. It is
given the context of version 1.3, which the package `rocrate` ships, with the four terms that 1.3
maps otherwise put back to what 1.1 says (RO-Crate 1.3, changelog).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import requests
import rocrate
from rocrate_validator import services
from rocrate_validator.models import ValidationSettings
from rocrate_validator.utils.http import HttpRequester

URL = "https://w3id.org/ro/crate/1.1/context"
TERMS = {
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "FormalParameter": "https://bioschemas.org/FormalParameter",
    "input": "https://bioschemas.org/ComputationalWorkflow#input",
    "output": "https://bioschemas.org/ComputationalWorkflow#output",
}


def get(requester: HttpRequester, url: str, **_: object) -> requests.Response:
    """Answer for the network: the context of RO-Crate 1.1, and nothing else."""
    if url != URL:
        raise requests.ConnectionError(f"{url}: only {URL} is known")
    shipped = json.loads((Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld").read_text())
    response = requests.Response()
    response.status_code, response.url = 200, url
    response.headers["Content-Type"] = "application/ld+json"
    response._content = json.dumps({"@context": {**shipped["@context"], **TERMS}}).encode()
    return response


def main() -> None:
    severity, *crates = sys.argv[1:]
    HttpRequester.get = get
    found = []
    for crate in crates:
        settings = ValidationSettings(
            rocrate_uri=crate,
            profile_identifier="provenance-run-crate-0.5",
            requirement_severity=severity.upper(),
            no_cache=True,
            skip_availability_check=True,
        )
        issues = services.validate(settings).get_issues()
        found.append(
            [
                [issue.check.identifier, str(issue.violatingEntity), issue.message]
                for issue in issues
            ]
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
