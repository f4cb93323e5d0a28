"""corral: the commands, over REST.

``commands.py`` lists them; ``client.py`` is the one door to the API, ``following.py``
waits for operations, ``words.py`` turns answers into text that is safe to print.
May import ``common``; imports nothing of the API.  Start reading at ``commands.py``.
"""
