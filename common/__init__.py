"""What every room speaks: errors, messages, transport, clock, configuration.

Imports nothing of the other rooms, and knows neither the database nor the
hypervisor.  Start reading at ``messages.py`` (what crosses the wire) and
``errors.py`` (how a refusal crosses it).
"""
