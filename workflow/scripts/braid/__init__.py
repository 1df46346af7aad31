"""braid: reproducible encoding models of the brain.

The rooms, in the order in which data flow: simulate, bids, preprocess, stimuli, models, features,
encoding, inference, transfer, concepts, probe, report. A room imports only from rooms before it
and from `braid.common`.
"""

__version__ = "0.1.0"
