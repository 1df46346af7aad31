"""Study files: read, checked against their schema, defaults filled in, split into slices.

Needs nothing but PyYAML and jsonschema, so that it runs where only Snakemake is installed.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from braid.common.errors import InputError
from braid.inference.integration_profiles import settings as profile_settings

Config = dict[str, Any]
PathLike = str | os.PathLike[str]
UNTRAINED = "_untrained"


def read_yaml(path: PathLike) -> Any:
    """Read a YAML file; a missing or malformed one is an `InputError` with file and line."""
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(
            f"{path}{where}: not valid YAML ({getattr(error, 'problem', error)})"
        ) from None


def check(config: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> Config:
    """Check a config against its JSON schema and fill in the schema's defaults.

    Parameters
    ----------
    config : mapping
        As read from YAML; not changed.
    schema : mapping
        JSON schema (draft 2020-12).
    where : str
        Name of the file, for messages.

    Returns
    -------
    dict
        Copy of `config` with every default of the schema that it leaves open.

    Raises
    ------
    InputError
        One sentence that names the key, what is wrong, and the nearest valid key if one is
        misspelt.
    """
    errors = list(Draft202012Validator(schema).iter_errors(config))
    # a misspelt key often causes a second error ("required key missing"): name the spelling first
    for error in _leaves(errors):
        if error.validator == "additionalProperties":
            raise InputError(f"{where}: {_unknown_key(error)}")
    if errors:
        error = best_match(errors)
        raise InputError(f"{where}: {_place(error)}{_describe(error)}")
    filled: Config = _unshared(config)
    _fill(filled, schema, schema)
    return filled


def _unshared(value: Any) -> Any:
    """Copy in which no two keys hold the same object, as YAML's anchors do: each gets its own."""
    if isinstance(value, Mapping):
        return {key: _unshared(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_unshared(part) for part in value]
    return value


def _leaves(errors: Iterable[ValidationError]) -> Iterator[ValidationError]:
    for error in errors:
        yield error
        yield from _leaves(error.context or [])


def _place(error: ValidationError) -> str:
    path = ".".join(str(part) for part in error.absolute_path)
    return f"key '{path}': " if path else ""


def _unknown_key(error: ValidationError) -> str:
    assert isinstance(error.schema, Mapping)
    valid = sorted(error.schema.get("properties", {}))
    instance: Any = error.instance
    unknown = sorted(set(instance) - set(valid))[0]
    inside = ".".join(str(part) for part in error.absolute_path)
    near = difflib.get_close_matches(str(unknown), valid, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"valid keys are: {', '.join(valid)}."
    place = f" in '{inside}'" if inside else ""
    return f"unknown key '{unknown}'{place}; {hint}"


def _describe(error: ValidationError) -> str:
    if error.validator == "enum":
        values: Any = error.validator_value
        valid = [str(value) for value in values]
        near = difflib.get_close_matches(str(error.instance), valid, n=1, cutoff=0.5)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        return f"'{error.instance}' is not one of {', '.join(valid)}{hint}"
    if error.validator == "required":
        return f"{error.message.replace(' is a required property', '')} is missing"
    return error.message


def _fill(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> None:
    schema = _resolve(schema, root)
    if isinstance(value, dict):
        # what is written may bring defaults of its own, which come before the general ones
        _fill_by_rules(value, schema, root)
        for name, part in schema.get("properties", {}).items():
            part = _resolve(part, root)
            if name not in value and "default" in part:
                value[name] = deepcopy(part["default"])
            if name in value:
                _fill(value[name], part, root)
        rest = schema.get("additionalProperties")
        if isinstance(rest, Mapping):
            for name in value:
                if name not in schema.get("properties", {}):
                    _fill(value[name], rest, root)
        _fill_by_rules(value, schema, root)
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for item in value:
            _fill(item, schema["items"], root)


def _fill_by_rules(value: Config, schema: Mapping[str, Any], root: Mapping[str, Any]) -> None:
    for rule in schema.get("allOf", []):
        if "if" in rule and Draft202012Validator(rule["if"]).is_valid(value):
            _fill(value, rule.get("then", {}), root)


def _resolve(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        found: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        # keywords beside a reference count too
        schema = {**found, **{name: part for name, part in schema.items() if name != "$ref"}}
    return schema


def prepare(config: Mapping[str, Any], schemas: PathLike, where: str = "config") -> Config:
    """Check a whole study: its schema, the registry it names, and the names that must agree.

    Parameters
    ----------
    config : mapping
        The study as read.
    schemas : path-like
        Folder that holds `config.schema.yaml` and `models.schema.yaml`.
    where : str
        Name of the study's file, for messages.

    Returns
    -------
    dict
        The study with defaults filled in, folders put in place of `{data_root}`, `{results}` and
        `{study}`, and the registry's entries of
        the networks it uses under `registry`. Combinations are lists of networks throughout; what
        an analysis says of projections is under its key `projections`, if it has any.
    """
    study = check(config, read_yaml(Path(schemas) / "config.schema.yaml"), where)
    for key in ("feature_store", "factor_store"):
        if study[key] is not None:
            study[key] = _placed(study[key], study, where, key)
    for key in ("root", "truth") if "simulate" in study else ():
        study["simulate"][key] = _placed(study["simulate"][key], study, where, f"simulate.{key}")
    for name, dataset in study["datasets"].items():
        dataset["root"] = _placed(dataset["root"], study, where, f"datasets.{name}.root")
        if "derivative" in dataset:
            folder, key = dataset["derivative"], f"datasets.{name}.derivative.root"
            folder["root"] = _placed(folder["root"], study, where, key)
    for name, entry in study["alignments"].items():
        folder, key = entry["pictures"], f"alignments.{name}.pictures.root"
        folder["root"] = _placed(folder["root"], study, where, key)
    registry = check(
        read_yaml(study["models"]),
        read_yaml(Path(schemas) / "models.schema.yaml"),
        str(study["models"]),
    )
    for entry in study["integrations"].values():
        _add_low_level(entry, study["analyses"])
    for name, analysis in study["analyses"].items():
        _split_combinations(analysis)
        if isinstance(analysis["folds"]["inner"], dict):
            # the same draws for all models and subjects, whose decompositions are shared
            analysis["folds"]["inner"]["seed"] = study["seed"]
        _known(analysis["dataset"], study["datasets"], f"{where}: analyses.{name}.dataset")
        tasks = study["datasets"][analysis["dataset"]]["tasks"]
        for task in analysis["tasks"]:
            _known(task, tasks, f"{where}: analyses.{name}.tasks")
        for model in [*analysis["models"], *analysis["untrained"]]:
            _known(model, registry, f"{where}: analyses.{name}.models")
        networks = {*registry, *(f"{model}{UNTRAINED}" for model in registry)}
        for combination, members in analysis["combinations"].items():
            if combination in registry:
                raise InputError(
                    f"{where}: analyses.{name}.combinations.{combination}: the registry has a "
                    "network of this name; choose another"
                )
            for member in members:
                _known(member, networks, f"{where}: analyses.{name}.combinations.{combination}")
            if projection_of(analysis, combination) is not None:
                place = f"{where}: analyses.{name}.combinations.{combination}"
                _check_matched(members, registry, place)
        for comparison, pair in analysis["compare"].items():
            for member in pair:
                _known(
                    member, models_of(analysis), f"{where}: analyses.{name}.compare.{comparison}"
                )
    _check_stages(study, registry, where)
    lock = read_lock(lock_file(study["models"]))
    # what a job reads is what the lock names; without an entry there it stops and says how to fetch
    study["registry"] = {name: locked(registry[name], lock) for name in used_by(study)}
    return study


def used_by(study: Mapping[str, Any]) -> list[str]:
    """Names of the registry's entries that a study runs or probes, sorted; it may lack defaults."""
    names = {str(probe["model"]) for probe in study.get("probes", {}).values()}
    for alignment in study.get("alignments", {}).values():
        for pair in alignment["pairs"].values():
            names |= {base_of(pair[side]) for side in ("language", "vision")}
    for analysis in study["analyses"].values():
        full = {"untrained": [], "combinations": {}, **analysis}
        _split_combinations(full)
        names |= {base_of(model) for model in networks_of(full)}
    return sorted(names)


def lock_file(registry: PathLike) -> Path:
    """Lock file of a registry: beside it, `models.lock.yaml` for `models.yaml`."""
    return Path(registry).with_suffix(".lock.yaml")


def read_lock(path: PathLike) -> Config:
    """Read a lock file; one that does not exist locks nothing.

    Returns
    -------
    dict
        Checkpoint (see `checkpoints_of`) to a mapping of `revision` (of hub repositories: the
        commit) and `files`: name to `sha256` and `size` (bytes).

    Raises
    ------
    InputError
        If it is no valid YAML, or an entry is not of this form.
    """
    if not Path(path).is_file():
        return {}
    content = read_yaml(path) or {}
    if not isinstance(content, dict):
        raise InputError(f"{path}: must be a mapping of checkpoints; fetch the networks again")
    for checkpoint, entry in content.items():
        files = entry.get("files") if isinstance(entry, dict) else None
        if not isinstance(files, dict) or not all(
            isinstance(file, dict) and {"sha256", "size"} <= set(file) for file in files.values()
        ):
            raise InputError(
                f"{path}: the entry of {checkpoint} does not list its files with sha256 and size; "
                "remove it and fetch the network again"
            )
    return content


def checkpoints_of(entry: Mapping[str, Any]) -> list[str]:
    """Names under which the lock file keeps what an entry's `hub` or `urls` name.

    A repository is named by its id and the revision that the entry pins, if any (`ID@REVISION`),
    a file by its address; so entries that share a checkpoint share its place in the lock.
    """
    revision = f"@{entry['revision']}" if entry.get("revision") else ""
    repository = [f"{entry['hub']}{revision}"] if entry.get("hub") else []
    return [*repository, *(str(url) for url in entry.get("urls") or ())]


def locked(entry: Mapping[str, Any], lock: Mapping[str, Any]) -> Config:
    """Entry of the registry with what the lock file says of it, under `lock`.

    An entry of which the lock does not know all checkpoints gets none. What `tokenizer` names is
    locked in the same way.
    """
    found = dict(entry)
    if found.get("tokenizer"):
        found["tokenizer"] = locked(found["tokenizer"], lock)
    checkpoints = checkpoints_of(found)
    if checkpoints and all(checkpoint in lock for checkpoint in checkpoints):
        parts = [lock[checkpoint] for checkpoint in checkpoints]
        files = {name: file for part in parts for name, file in part["files"].items()}
        revision = parts[0].get("revision")
        found["lock"] = {**({"revision": revision} if revision else {}), "files": files}
    return found


def _check_stages(study: Config, registry: Mapping[str, Any], where: str) -> None:
    """Check the names in alignments, transfers, components and probes."""
    analyses = study["analyses"]
    for name, analysis in analyses.items():
        if analysis["compare"] and not analysis["fit"]:
            raise InputError(
                f"{where}: analyses.{name}.compare: there is nothing to compare with 'fit: false'; "
                "leave one of the two out"
            )
        for number, wanted in enumerate(analysis["repeats"]):
            for task in _listed(wanted.get("task", [])):
                _known(task, analysis["tasks"], f"{where}: analyses.{name}.repeats.{number}.task")
    for name, entry in study["alignments"].items():
        for label, pair in entry["pairs"].items():
            key = f"{where}: alignments.{name}.pairs.{label}"
            if label in registry:
                raise InputError(f"{key}: is the name of a network too; rename the pair")
            for side in ("language", "vision"):
                _known(base_of(pair[side]), registry, f"{key}.{side}")
                if registry[base_of(pair[side])]["modality"] not in (side, "vision-language"):
                    raise InputError(f"{key}.{side}: {pair[side]} is no {side} network")
    for name, entry in study["transfers"].items():
        place = f"{where}: transfers.{name}"
        through = [key for key in ("alignment", "pairs", "from") if key in entry]
        if ("models" in entry) == bool(through) or len(through) in (1, 2):
            raise InputError(
                f"{place}: give either 'models', or all of 'alignment', 'pairs' and 'from'"
            )
        for side in ("source", "target"):
            _fitted(entry[side], analyses, f"{place}.{side}")
        if "alignment" in entry:
            _known(entry["alignment"], study["alignments"], f"{place}.alignment")
            for pair in entry["pairs"]:
                there = study["alignments"][entry["alignment"]]["pairs"]
                _known(pair, there, f"{place}.pairs")
                sides = transfer_networks(entry, study["alignments"], pair)
                for side, network in zip(("source", "target"), sides, strict=True):
                    fitted = fitted_networks(analyses[entry[side]])
                    _known(network, fitted, f"{place}.pairs.{pair} (analysis {entry[side]})")
        for side in ("source", "target"):
            for model in entry.get("models", []):
                _known(model, models_of(analyses[entry[side]]), f"{place}.models")
                if projection_of(analyses[entry[side]], model) is not None:
                    raise InputError(
                        f"{place}.models: {model} is projected as analysis {entry[side]} has "
                        "learnt it, which is not the projection of the other; take a "
                        "concatenation (a list of networks)"
                    )
        source, target = analyses[entry["source"]], analyses[entry["target"]]
        same = sorted(set(source["tasks"]) & set(target["tasks"]))
        if same and source["dataset"] == target["dataset"]:
            raise InputError(
                f"{place}: source and target both use the runs of task {same[0]}; a model would be "
                "tested on what it was trained on: choose analyses of different tasks"
            )
    for name, entry in study["components"].items():
        place = f"{where}: components.{name}"
        _fitted(entry["analysis"], analyses, f"{place}.analysis")
        analysis = analyses[entry["analysis"]]
        _known(entry["model"], fitted_networks(analysis), f"{place}.model")
    for name, entry in study["shared_components"].items():
        place = f"{where}: shared_components.{name}"
        _known(entry["alignment"], study["alignments"], f"{place}.alignment")
        there = study["alignments"][entry["alignment"]]["pairs"]
        _known(entry["pair"], there, f"{place}.pair")
        for side in ("language", "vision"):
            _fitted(entry[side], analyses, f"{place}.{side}")
            fitted = fitted_networks(analyses[entry[side]])
            _known(there[entry["pair"]][side], fitted, f"{place}.{side} (pair {entry['pair']})")
    for name, entry in study["integrations"].items():
        _check_integration(entry, study, f"{where}: integrations.{name}")
    for name, entry in study["probes"].items():
        place = f"{where}: probes.{name}"
        _known(entry["analysis"], analyses, f"{place}.analysis")
        _known(entry["model"], registry, f"{place}.model")
        if registry[entry["model"]]["modality"] != "vision-language":
            raise InputError(
                f"{place}.model: {entry['model']} is no vision-language network; pairing needs one"
            )


def _check_integration(entry: Mapping[str, Any], study: Config, place: str) -> None:
    """Check the names and settings of an integration."""
    analyses, datasets = study["analyses"], set()
    for key in ("alignments", "pairs"):
        for name in entry[key]:
            if name in RESERVED[key] or (key == "pairs" and name.startswith("over_")):
                raise InputError(
                    f"{place}.{key}: '{name}' is a name that the tables use for something else; "
                    "rename it"
                )
    if entry["beyond_low_level"] and "low_level" not in entry:
        raise InputError(f"{place}.beyond_low_level: name the low-level features (key low_level)")
    for alignment, analysis in entry["alignments"].items():
        key = f"{place}.alignments.{alignment}"
        _known(analysis, analyses, key)
        datasets.add(analyses[analysis]["dataset"])
        if analyses[analysis]["design"]["kind"] != "event_locked":
            raise InputError(
                f"{key}: the design of analysis {analysis} is not event_locked; integration is "
                "asked of events"
            )
        models = [*networks_of(analyses[analysis]), *analyses[analysis]["combinations"]]
        for role in ("multimodal", "unimodal", "linear", "matched"):
            for model in entry.get(role, []):
                _known(model, models, f"{place}.{role} (analysis {analysis})")
        for pair in entry["pairs"].values():
            for model in pair:
                _known(model, models, f"{place}.pairs (analysis {analysis})")
        if "low_level" in entry:
            _known(entry["low_level"], models, f"{place}.low_level (analysis {analysis})")
            for model, joined in with_low_level(entry).items():
                if joined not in models:
                    raise InputError(
                        f"{place}.beyond_low_level: {model} and {entry['low_level']} cannot be put "
                        "side by side; both must be networks or lists of networks"
                    )
    compared = integration_models(integration_roles(entry, analyses, {}))
    for key in ("layers", "objectives"):
        for model in entry[key]:
            _known(base_of(model), map(base_of, compared), f"{place}.{key}")
    if len(datasets) > 1:
        raise InputError(
            f"{place}.alignments: the analyses are of the data sets "
            f"{' and '.join(sorted(datasets))}, but the alignments of an electrode are of one"
        )
    for profile in entry["profiles"]:
        try:
            settings = integration_settings(entry, profile)
        except InputError as error:
            raise InputError(f"{place}.profiles.{profile}: {error}") from None
        if settings["bin_filter"] == "perm_fdr":
            roles = integration_roles(entry, analyses, {})
            for analysis in entry["alignments"].values():
                _fitted(analysis, analyses, f"{place}.profiles.{profile}.bin_filter")
                for model in integration_models(roles):
                    known = models_of(analyses[analysis])
                    _known(model, known, f"{place}.profiles.{profile}.bin_filter ({analysis})")


def with_low_level(entry: Mapping[str, Any]) -> dict[str, str]:
    """Name the combinations of candidates and low-level features that are asked for."""
    if not entry["beyond_low_level"]:
        return {}
    asked = [*entry["multimodal"], *entry["unimodal"]]
    return {model: f"{model}_with_{entry['low_level']}" for model in asked}


def _add_low_level(entry: Mapping[str, Any], analyses: Mapping[str, Config]) -> None:
    """Add the combinations that `beyond_low_level` asks for to the analyses of an integration.

    Names that are wrong add nothing; they are told of when names are checked.
    """
    joined = with_low_level(entry) if "low_level" in entry else {}
    for analysis in (analyses.get(name, {}) for name in entry["alignments"].values()):
        some = dict(analysis.get("combinations", {}))
        low = some.get(entry.get("low_level"))
        for model, name in joined.items():
            members = some.get(model, [model])
            if isinstance(low, list) and isinstance(members, list):
                some.setdefault(name, list(dict.fromkeys([*members, *low])))
        if joined and analysis:
            analysis["combinations"] = some


def _split_combinations(analysis: Config) -> None:
    """Turn combinations into lists of networks, and put projections beside them."""
    found = analysis["combinations"]
    projected = {name: entry for name, entry in found.items() if isinstance(entry, Mapping)}
    # several analyses may share what a YAML alias made one object: put others in its place
    analysis["combinations"] = {
        name: list(entry["networks"] if name in projected else entry)
        for name, entry in found.items()
    }
    if projected:
        analysis["projections"] = {
            name: dict(entry["projection"]) for name, entry in projected.items()
        }


def _check_matched(members: Iterable[str], registry: Mapping[str, Any], where: str) -> None:
    """Refuse to match texts with texts, or pictures with pictures."""
    modalities = {registry[base_of(member)]["modality"] for member in members}
    if len(modalities) == 1 and modalities <= {"vision", "language"}:
        raise InputError(
            f"{where}.networks: {' and '.join(members)} are both {modalities.pop()} networks; a "
            "projection matches pictures with texts, so name one of each"
        )


def _listed(value: Any) -> list[Any]:
    """Take one value for a list of one."""
    return list(value) if isinstance(value, list) else [value]


def _placed(text: str, study: Config, where: str, key: str) -> str:
    """Put the study's folders in place of `{data_root}`, `{results}` and `{study}`."""
    if "{data_root}" in text and not study.get("data_root"):
        raise InputError(
            f"{where}: {key} uses {{data_root}}, but the key 'data_root' is not set; set it in the "
            "file or with --config data_root=FOLDER"
        )
    for name in ("data_root", "results", "study"):
        text = text.replace(f"{{{name}}}", str(study.get(name, "")))
    return text


def _fitted(name: str, analyses: Mapping[str, Any], where: str) -> None:
    """Stop unless there is an analysis of this name that fits its models."""
    _known(name, analyses, where)
    if not analyses[name]["fit"]:
        raise InputError(f"{where}: analysis {name} has 'fit: false', but its fits are needed here")


def _known(name: str, valid: Iterable[str], where: str) -> None:
    names = sorted(valid)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(names)}."
        raise InputError(f"{where}: unknown name '{name}'; {hint}")


def fitted_networks(analysis: Mapping[str, Any]) -> list[str]:
    """Names of the networks an analysis fits, trained ones first, then untrained twins."""
    return [*analysis["models"], *(f"{name}{UNTRAINED}" for name in analysis["untrained"])]


def networks_of(analysis: Mapping[str, Any]) -> list[str]:
    """Names of the networks an analysis runs: those it fits, and other members of combinations."""
    members = [name for group in analysis["combinations"].values() for name in group]
    return list(dict.fromkeys([*fitted_networks(analysis), *members]))


def has_timing(analysis: Mapping[str, Any]) -> bool:
    """Whether features of an analysis are shifted in time: it fits volumes, and nobody forbids."""
    volumes = analysis["design"]["kind"] != "event_locked"
    return bool(analysis["fit"] and analysis["timing"] is not None and volumes)


def models_of(analysis: Mapping[str, Any]) -> list[str]:
    """Names of all that an analysis fits: networks, untrained twins, combinations."""
    return [*fitted_networks(analysis), *analysis["combinations"]]


def projection_of(analysis: Mapping[str, Any], model: str) -> Config | None:
    """Give the settings of the projection that a combination learns; None for other models."""
    found: Config | None = analysis.get("projections", {}).get(model)
    return found


def integration_settings(entry: Mapping[str, Any], profile: str) -> Config:
    """Give the settings of a profile with what an integration changes, in all and in this one."""
    return profile_settings(profile, **{**entry["settings"], **entry["profiles"][profile]})


def integration_roles(
    entry: Mapping[str, Any],
    analyses: Mapping[str, Mapping[str, Any]],
    registry: Mapping[str, Mapping[str, Any]],
) -> Config:
    """Models of an integration by role, with the untrained twins that its analyses run.

    Returns
    -------
    dict
        As `braid.inference.compare_candidates` and the tables take them: `multimodal`, `unimodal`,
        `linear`, `matched` (if given), `pairs`, `low_level` (if given), `with_low_level` (if asked
        for: combination by model), `untrained` (twin by network), `objectives`.
    """
    asked = list(dict.fromkeys([*entry["multimodal"], *entry["unimodal"]]))
    run = [set(networks_of(analyses[name])) for name in entry["alignments"].values()]
    twins = {model: f"{model}{UNTRAINED}" for model in asked}
    objectives = {
        model: entry["objectives"].get(model, registry.get(base_of(model), {}).get("objective"))
        for model in asked
    }
    return {
        **{role: list(entry[role]) for role in ("multimodal", "unimodal", "linear")},
        **({"matched": list(entry["matched"])} if "matched" in entry else {}),
        "pairs": dict(entry["pairs"]),
        **({"low_level": entry["low_level"]} if "low_level" in entry else {}),
        **({"with_low_level": joined} if (joined := with_low_level(entry)) else {}),
        "untrained": {
            model: twin for model, twin in twins.items() if all(twin in names for names in run)
        },
        "objectives": {model: what for model, what in objectives.items() if what},
    }


def integration_models(roles: Mapping[str, Any]) -> list[str]:
    """Names of all models that an integration compares, each once."""
    named = [roles[role] for role in ("multimodal", "unimodal", "linear")]
    named += [roles.get("matched", []), *roles["pairs"].values(), roles["untrained"].values()]
    named += [[roles[key]] for key in ("low_level",) if key in roles]
    named += [roles.get("with_low_level", {}).values()]
    return list(dict.fromkeys(model for some in named for model in some))


def integration_layer(entry: Mapping[str, Any], model: str) -> str:
    """Layer of a model that an integration takes; an untrained twin has that of its network."""
    return str(entry["layers"].get(model, entry["layers"].get(base_of(model), entry["layer"])))


def transfer_models(entry: Mapping[str, Any]) -> list[str]:
    """Name what a transfer carries over: models, or pairs of an alignment."""
    return list(entry["pairs"] if "alignment" in entry else entry["models"])


def transfer_networks(
    entry: Mapping[str, Any], alignments: Mapping[str, Mapping[str, Any]], name: str
) -> tuple[str, str]:
    """Models of the source and of the target of one of `transfer_models`."""
    if "alignment" not in entry:
        return name, name
    pair = alignments[entry["alignment"]]["pairs"][name]
    other = "vision" if entry["from"] == "language" else "language"
    return pair[entry["from"]], pair[other]


RESERVED = {
    "alignments": ("weak", "strict"),
    "pairs": (
        *("multimodal", "matched", "nonlinear", "first", "trained", "untrained"),
        "beyond_low_level",
    ),
}
"""Names of an integration's tables that its alignments and pairs cannot have, nor `over_...`."""
BOOTSTRAPPED = (
    *("folds", "embargo", "alphas", "alpha_scale", "standardize", "draws", "event_block", "level"),
)
"""Settings of an integration that its event bootstraps depend on."""
CORRECTED = ("defaults", "fdr_order", "q")
"""Settings that come in after all comparisons are made."""


def shared_bootstraps(integrations: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Which profiles of an integration bootstrap alike, so that each bootstrap is made once.

    Returns
    -------
    dict of str to dict of str to str
        By integration, each profile and the first of those with the same settings of the
        bootstrap: the one under whose name its files lie.
    """
    found: dict[str, dict[str, str]] = {}
    for name, entry in integrations.items():
        first: dict[str, str] = {}
        found[name] = {}
        for profile in entry["profiles"]:
            values = integration_settings(entry, profile)
            key = repr([ordered(values[key]) for key in BOOTSTRAPPED])
            found[name][profile] = first.setdefault(key, profile)
    return found


def base_of(model: str) -> str:
    """Name of the registry's entry of a network or of its untrained twin."""
    return model.removesuffix(UNTRAINED)


def subjects_of(name: str, dataset: Mapping[str, Any], made: bool = False) -> list[str]:
    """Subject labels of a dataset, without `sub-`; `all` are those who took part in its tasks.

    A list of subjects is taken as it is, so that a plan can be made where the recordings are not.

    Parameters
    ----------
    name : str
        Name of the data set, for messages.
    dataset : mapping
        Its entry in the config.
    made : bool
        Whether a rule of the workflow makes the root, so that it need not be there yet.

    Raises
    ------
    InputError
        With `subjects: all`, if the root does not exist, or nobody there took part in the tasks.
    """
    if dataset["subjects"] != "all":
        return [str(subject) for subject in dataset["subjects"]]
    if not made:
        check_root(name, dataset)
    root = Path(dataset["root"])
    there = sorted(path for path in root.glob("sub-*") if path.is_dir())
    if not there:
        raise InputError(f"datasets.{name}.root: {root} holds no folder sub-*; is it a BIDS root?")
    # not everybody took part in everything
    found = [path for path in there if any(_took_part(path, task) for task in dataset["tasks"])]
    if not found:
        raise InputError(
            f"datasets.{name}.tasks: no subject of {root} has a file of task "
            f"{' or '.join(dataset['tasks'])}"
        )
    return [path.name.removeprefix("sub-") for path in found]


def check_root(name: str, dataset: Mapping[str, Any]) -> None:
    """Stop with an `InputError` where the BIDS root of a data set does not exist."""
    root = dataset["root"]
    if not Path(root).is_dir():
        raise InputError(
            f"datasets.{name}.root: the BIDS root {root} does not exist; put the data set there, "
            "or set data_root or root to where it is"
        )


def shared_stimuli(analyses: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Which analyses show their networks the same units, so that each network runs once for them.

    Returns
    -------
    dict of str to str
        Each analysis, and the first by name of those of the same data set, tasks and units: the
        one under whose name units and features lie.
    """
    first: dict[str, str] = {}
    of: dict[str, str] = {}
    for name in sorted(analyses):
        entry = analyses[name]
        shown = [entry["dataset"], sorted(entry["tasks"]), ordered(entry["units"])]
        of[name] = first.setdefault(repr(shown), name)
    return of


def is_network(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of the registry is a network, and not features without one."""
    return any(entry.get(key) for key in ("path", "hub", "urls"))


def features_slice(entry: Mapping[str, Any]) -> Config:
    """Entry of the registry without what only describes it, which features do not depend on."""
    described = ("objective", "licence", "description", "state", "parameters", "download", "data")
    return ordered({key: value for key, value in entry.items() if key not in described})


def _took_part(subject: Path, task: str) -> bool:
    """Whether a subject's folder holds a file of a task."""
    return any(subject.rglob(f"*_task-{task}_*"))


def n_folds(folds: Mapping[str, Any], runs: int) -> int:
    """Folds that a fit of so many runs is planned with; with `holdout`, the inner ones."""
    # a draw of chunks holds out a fifth, as five folds do
    inner = 5 if isinstance(folds["inner"], Mapping) else int(folds["inner"])
    count = {"runs": runs, "holdout": inner, "blocks": int(folds["n"])}
    return max(2, count[str(folds["scheme"])])


def chunks_of(folds: Mapping[str, Any]) -> Config | None:
    """How inner folds are drawn, for the plan of a fit's memory; None where they are not."""
    return dict(folds["inner"]) if isinstance(folds["inner"], Mapping) else None


def ordered(value: Any) -> Any:
    """Copy of a slice of the config with sorted keys, so that their order re-runs nothing."""
    if isinstance(value, Mapping):
        return {key: ordered(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [ordered(item) for item in value]
    return value


def digest_of_rooms(library: PathLike, *rooms: str) -> str:
    """Digest of the source of rooms of the library, as a trigger of re-runs.

    Snakemake re-runs a rule when its script changes, not when a module does that the script
    imports; a rule that carries this digest among its params re-runs then too.

    Parameters
    ----------
    library : path-like
        Folder of the package.
    *rooms : str
        Rooms that a script opens; `common` and the rooms that these import are added. For rules
        whose jobs take hours, modules (`room.module`) in place of a room: these, the modules of
        their own room that they import, and other rooms as before.
    """
    sources = {
        path: path.read_bytes()
        for part in sorted(_with_imported(Path(library), {"common", *rooms}))
        for path in _files_of(Path(library), part)
    }
    digest = hashlib.sha256()
    for path, content in sorted(sources.items()):
        digest.update(path.relative_to(library).as_posix().encode() + b"\0" + content)
    return digest.hexdigest()[:16]


def _with_imported(library: Path, parts: set[str]) -> set[str]:
    """Rooms and modules, what their source imports, and so on."""
    found: set[str] = set()
    queue = set(parts)
    while queue:
        part = queue.pop()
        found.add(part)
        for path in _files_of(library, part):
            if path.suffix != ".py":
                continue
            text = path.read_text(encoding="utf-8")
            pattern = r"^\s*(?:from|import) braid\.(\w+)(?:\.(\w+))?"
            for room, module in re.findall(pattern, text, flags=re.MULTILINE):
                # a module of a room needs other modules of it, but not all
                own = "." in part and room == part.split(".")[0]
                near = own and module and (library / room / f"{module}.py").is_file()
                if (library / room).is_dir():
                    queue.add(f"{room}.{module}" if near else room)
        queue -= found
    return found


def _files_of(library: Path, part: str) -> list[Path]:
    """All files of a room but its page of documentation, or the one of a module."""
    room, _, module = part.partition(".")
    if module:
        return [library / room / f"{module}.py"]
    every = (path for path in sorted((library / room).rglob("*")) if path.is_file())
    return [path for path in every if path.suffix != ".md" and "__pycache__" not in path.parts]
