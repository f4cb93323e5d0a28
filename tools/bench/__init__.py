"""make bench: what Corral costs, measured through its own doors.

``__main__`` runs every part and writes build/bench.json; each other module measures one
subject and yields Figures.  ``deciding`` and ``constant`` are processes to be measured.
Figures assert nothing; a peer or bound that was measured in the same run stands beside
a figure wherever there is one, so that a noisy machine shows as noise in both.
"""
