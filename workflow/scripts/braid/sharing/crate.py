"""Provenance of a study as RO-Crate, with the profiles for runs of workflows.

RO-Crate 1.1 with Process, Workflow and Provenance Run Crate 0.5
(https://www.researchobject.org/workflow-run-crate/profiles/): the Snakefile is the workflow, a
rule's script a tool, a job an action with its inputs, its outputs, and when it ended. Files that
are not in the archive, arrays and raw data, are named and not described as files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from braid.sharing.jobs import Job

if TYPE_CHECKING:
    from rocrate.model.entity import Entity
    from rocrate.rocrate import ROCrate

_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
_FORMATS = {
    ".tsv": "text/tab-separated-values",
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".html": "text/html",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".py": "text/x-python",
    ".md": "text/markdown",
}
_COMPLETED = "http://schema.org/CompletedActionStatus"
_BIOSCHEMAS = "https://bioschemas.org/profiles"
_WORKFLOW = "Snakefile"
_CONFIG = "config/config.yaml"
_RESULTS = "results/"


def crate_of(
    files: Mapping[str, Path | bytes],
    jobs: Sequence[Job],
    results: Path,
    config: Mapping[str, Any],
    code: Mapping[str, Any],
    snakemake: str,
    license_: str | None,
) -> dict[str, Any]:
    """Describe an archive and how it came about.

    Parameters
    ----------
    files : mapping of str to path or bytes
        Every other file of the archive, by its name there.
    jobs : sequence of Job
        At least one.
    results : pathlib.Path
        Folder of the study's results, as the jobs name it.
    config : mapping
        The study.
    code : mapping
        As `braid.sharing.code_version.code_version` gives it.
    snakemake : str
        Version of the workflow engine.
    license_ : str or None
        Licence of the results, a URL or text; None if its owner states none.

    Returns
    -------
    dict
        The JSON-LD document, for `ro-crate-metadata.json`. The same run gives the same document.
    """
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")
    _describe_root(crate, config, jobs, license_)
    workflow = _add_workflow(crate, code)
    rules = sorted({job.rule for job in jobs})
    tools = {rule: _add_tool(crate, rule, files, _version(code)) for rule in rules}
    held = {_WORKFLOW: workflow, **{_script(rule): tool for rule, tool in tools.items()}}
    for name, source in files.items():
        if name not in held:
            properties = _file_properties(name, source)
            held[name] = crate.add_file(dest_path=name, properties=properties)
    known = {f"{results}/{name.removeprefix(_RESULTS)}": held[name] for name in files}
    known |= {name: held[name] for name in files if not name.startswith(_RESULTS)}
    steps = {
        rule: _add(crate, f"#step-{rule}", "HowToStep", name=rule, workExample=tool)
        for rule, tool in tools.items()
    }
    workflow["hasPart"] = list(tools.values())
    workflow["step"] = list(steps.values())
    actions, controls = [], []
    for number, job in enumerate(jobs, start=1):
        action = _add_job(crate, f"#job-{number}", job, tools[job.rule], known)
        actions.append(action)
        controls.append(
            _add(
                crate,
                f"#control-{number}",
                "ControlAction",
                name=f"Orchestration of {action['name']}",
                instrument=steps[job.rule],
                object=action,
                endTime=action["endTime"],
            )
        )
    results_held = [held[name] for name in files if name.startswith(_RESULTS)]
    run = _add_run(crate, workflow, jobs, held[_CONFIG], results_held)
    crate.root_dataset["mentions"] = [run, *actions]
    engine = _add(
        crate,
        "#snakemake",
        "SoftwareApplication",
        name="Snakemake",
        softwareVersion=snakemake,
        url={"@id": "https://snakemake.github.io"},
    )
    _add(
        crate,
        "#orchestration",
        "OrganizeAction",
        name=f"Snakemake {snakemake} runs the study",
        instrument=engine,
        object=controls,
        result=run,
        endTime=run["endTime"],
    )
    return dict(crate.metadata.generate())


def _add(crate: ROCrate, identifier: str, type_: str | list[str], **properties: Any) -> Entity:
    """Add an entity that is no file."""
    from rocrate.model.contextentity import ContextEntity

    entity = ContextEntity(crate, identifier, properties={"@type": type_})
    for key, value in properties.items():
        entity[key] = value
    return crate.add(entity)


def _describe_root(
    crate: ROCrate, config: Mapping[str, Any], jobs: Sequence[Job], license_: str | None
) -> None:
    crate.root_dataset["name"] = f"braid study {config['study']}"
    crate.root_dataset["description"] = (
        config.get("question") or "Encoding models of recordings of the brain"
    )
    crate.root_dataset["datePublished"] = _time(max(job.ended for job in jobs))
    stated = license_ or "None stated for the results; that of the code is in LICENSE"
    address = stated if stated.startswith(("https://", "http://")) else "#licence"
    crate.root_dataset["license"] = _add(
        crate, address, "CreativeWork", name=stated, description="Licence of the results"
    )
    crate.root_dataset["conformsTo"] = [
        _add(crate, uri, "CreativeWork", name=name, version=uri.rsplit("/", 1)[1])
        for uri, name in _PROFILES.items()
    ]


def _add_workflow(crate: ROCrate, code: Mapping[str, Any]) -> Entity:
    types = {"@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]}
    workflow = crate.add_workflow(
        dest_path=_WORKFLOW, main=True, lang="snakemake", properties=types
    )
    workflow["name"] = "braid"
    workflow["version"] = _version(code)
    workflow["license"] = {"@id": "LICENSE"}
    workflow["conformsTo"] = {"@id": f"{_BIOSCHEMAS}/ComputationalWorkflow/1.0-RELEASE"}
    workflow["input"] = _add(
        crate,
        "#parameter-config",
        "FormalParameter",
        name="config",
        additionalType="File",
        valueRequired=True,
        encodingFormat="application/yaml",
        workExample={"@id": _CONFIG},
        conformsTo={"@id": f"{_BIOSCHEMAS}/FormalParameter/1.0-RELEASE"},
    )
    return workflow


def _version(code: Mapping[str, Any]) -> str:
    """Commit of the code, or its digest where there is none; said so if it was changed."""
    if code["commit"] is None:
        return f"sha256 {code['digest']}"
    return f"{code['commit']}{', changed since' if code['dirty'] else ''}"


def _add_tool(crate: ROCrate, rule: str, files: Mapping[str, Path | bytes], version: str) -> Entity:
    """Add the script of a rule, or the rule itself if no script bears its name."""
    script = _script(rule)
    if script not in files:
        return _add(crate, f"#rule-{rule}", "SoftwareApplication", name=rule, version=version)
    properties = {
        **_file_properties(script, files[script]),
        "@type": ["File", "SoftwareSourceCode"],
        "name": rule,
        "version": version,
    }
    tool = crate.add_file(dest_path=script, properties=properties)
    tool["programmingLanguage"] = _add(
        crate,
        "https://www.python.org",
        "ComputerLanguage",
        name="Python",
        url={"@id": "https://www.python.org"},
    )
    return tool


def _script(rule: str) -> str:
    return f"workflow/scripts/{rule}.py"


def _file_properties(name: str, source: Path | bytes) -> dict[str, Any]:
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    kind = _FORMATS.get(Path(name).suffix, "text/plain")
    found: dict[str, Any] = {"name": name, "contentSize": str(size), "encodingFormat": kind}
    if name == _CONFIG:
        found["exampleOfWork"] = {"@id": "#parameter-config"}
    if name == "README.md":
        found["about"] = {"@id": "./"}
    return found


def _add_job(
    crate: ROCrate, identifier: str, job: Job, tool: Entity, known: dict[str, Entity]
) -> Entity:
    action = _add(
        crate,
        identifier,
        "CreateAction",
        name=f"{job.rule}: {job.outputs[0]}",
        instrument=tool,
        object=_references(crate, job.inputs, known),
        result=_references(crate, job.outputs, known),
        endTime=_time(job.ended),
        actionStatus=_COMPLETED,
    )
    if job.seconds is not None:
        action["startTime"] = _time(job.ended - job.seconds)
    return action


def _references(
    crate: ROCrate, paths: Iterable[str], known: dict[str, Entity]
) -> list[Entity] | Entity:
    """Files of the archive; others are named as works that it lacks.

    One alone is no list, as RO-Crate recommends.
    """
    for path in paths:
        if path not in known:
            lacking = "Not in this archive"
            known[path] = _add(
                crate, f"#{quote(path)}", "CreativeWork", name=path, description=lacking
            )
    found = [known[path] for path in paths]
    return found[0] if len(found) == 1 else found


def _add_run(
    crate: ROCrate, workflow: Entity, jobs: Sequence[Job], config: Entity, results: list[Entity]
) -> Entity:
    """Add the run of the whole workflow: from the config to what the archive holds of results."""
    run = _add(
        crate,
        "#run",
        "CreateAction",
        name="Run of the study",
        instrument=workflow,
        object=config,
        result=results,
        startTime=_time(min(job.ended - (job.seconds or 0.0) for job in jobs)),
        endTime=_time(max(job.ended for job in jobs)),
        actionStatus=_COMPLETED,
    )
    return run


def _time(seconds: float) -> str:
    """ISO 8601 in UTC, whole seconds."""
    return datetime.fromtimestamp(int(seconds), tz=UTC).isoformat()
