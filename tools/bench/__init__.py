"""make bench: what Corral costs, measured through its own doors.

``__main__`` runs every part and writes build/bench.json; each other module measures one
subject and yields Figures.  ``deciding`` and ``constant`` are processes to be measured, and so
are the servers of ``bare`` and ``simulator``.  ``real`` measures Corral as it is installed, over
RabbitMQ; ``claiming`` and ``many`` are its agents that claim, and that are many.
Figures assert nothing; a peer or bound that was measured in the same run stands beside
a figure wherever there is one, so that a noisy machine shows as noise in both.
"""
