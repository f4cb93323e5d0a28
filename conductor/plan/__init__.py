"""The planner: a frozen snapshot of a pool in, a plan or a refusal out.

Pure functions over ``model``: no clock, no database, no threads, the standard library only; the same
snapshot always gives the same plan. Start reading at ``drain`` and ``restore``, the two questions that
are asked. ``eligibility`` says who may run where, ``memory`` is xapi's formula, ``placement`` chooses
destinations (``search`` tries harder when it is tight), ``sequence`` turns them into ordered moves,
``schedule`` says when each may start, ``estimate`` how long it takes, ``advice`` what would help, and
``explain`` puts it into words.
"""
