"""Program that runs a `SalTestCsc`; see sal-on-kafka section 12 for its arguments."""

import asyncio

from support.sal_csc import SalTestCsc

if __name__ == "__main__":
    asyncio.run(SalTestCsc.amain(index=True))
