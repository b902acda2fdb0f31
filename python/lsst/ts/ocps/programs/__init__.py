"""The payload programs shipped with us: real astronomy, run as processes, imported by nobody.

Each is started as ``python -m lsst.ts.ocps.programs.NAME``, reads one image, and writes its products,
``result.json``, ``metrics.json`` and ``progress.json`` into ``JOB_OUTPUT_DIR``. It ends with 0, with 2 if
the input is at fault, or with 1 after any other failure; the last line on standard error says why.
Nothing heavy is imported before the arguments are known to be good.
"""
