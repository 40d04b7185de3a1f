"""The program on every machine: fetches what its region's goals name, verifies it, switches over, watches, goes back.

It may be killed at any line. What it decides, it decides from files it wrote before it acted (``state.py``), so that the one
that is started next goes on where this one was; what it started outlives it and is found again (``processes.py``).

``loop.py`` follows the region, ``service.py`` drives one service, ``reconcile.py`` says what is to be done next.
"""
