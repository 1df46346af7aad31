# Names of the files that the checks make: ceilings from repeats, and timing.
TIMED = {name: entry for name, entry in ANALYSES.items() if study.has_timing(entry)}


def ceilings_of_all():
    return [
        f"{RESULTS}/ceilings/{analysis}/sub-{subject}.tsv"
        for analysis, entry in ANALYSES.items()
        if entry["repeats"]
        for subject in subjects_in(analysis)
    ]


def timing_of_all():
    """Scans of each analysis' first model."""
    return [
        f"{RESULTS}/timing/{analysis}/{entry['models'][0]}/sub-{subject}.tsv"
        for analysis, entry in TIMED.items()
        for subject in subjects_in(analysis)
    ]
