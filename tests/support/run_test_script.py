"""Program that runs a `TestScript`, as the executable of a script does."""

import asyncio

from lsst.ts.ocps.salobj import TestScript

if __name__ == "__main__":
    asyncio.run(TestScript.amain())
