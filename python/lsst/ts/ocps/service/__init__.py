"""The embedded UWS 1.1 service: jobs over HTTP, kept in a database, run by executors.

A request goes ``handlers`` → ``jobs`` (the rules of UWS) → ``store`` (the truth); a queued job goes
``dispatch`` → ``runner`` → an executor, and what becomes of it → ``store``. ``store`` is the one place where
phases change, ``watch`` wakes whoever waits for that, ``reaper`` removes what has had its time, ``context``
makes and closes all of them. ``sync`` answers a request by the result of its job, ``json_dialect`` speaks of
the same jobs in the words of another server, ``conditional`` decides which part of a result is sent,
``dali`` tells in which format an answer is wanted, ``openapi`` describes what handlers read by themselves and
``api_page`` shows it to people, ``metrics`` counts what happens; ``about`` answers for the service itself.
"""
