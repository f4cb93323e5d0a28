"""Private RabbitMQ, PostgreSQL and MariaDB for tests, the benchmark and developers.

``python -m tools.servers -- COMMAND`` runs a command beside all three.  Each server has a
module of its own with two classes: ``Access`` talks to one that runs, whoever started it;
``Broker`` or ``Server`` is an Access that owns one, with its folder and ports, and can be
broken.  ``install`` finds their programs, ``guarded`` starts them and ``guard`` is the process
that leaves none behind.  Begin with ``rabbitmq``.  Nothing here knows Corral.
"""
