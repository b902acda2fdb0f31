"""What the report says of each part: what is measured, how, and what it should be."""

from collections.abc import Mapping

__all__ = ["PARTS", "TEXTS"]

PARTS = ("bridge", "runs", "scale", "service", "sal", "memory")
"""The parts of the benchmarks, in the order of the report."""

_BRIDGE = """\
Broker, registry, service and CSC are processes of their own, a Remote of all topics sends the
commands. The deployed system is dm_OCPS 4.3.0 on ts_salobj 8.2, measured earlier on a machine of
the same kind with noida-db.
"""

_RUNS = """\
So many ``run`` commands are sent at once, each for a job of 1 s, the last row aside. The back end
is a UWS 1.1 server in a process of its own that has WAIT and takes a set time for every answer; it
tells no job with its redirects, so that the CSC reads each job for itself. When half of the runs
have their first acknowledgement, one more is sent: *first ack of one more run* tells whether it has
to wait for the HTTP of the others. The back end counts the requests and the jobs of each run; lost
and doubled are told from its jobs, from the final acknowledgements and from ``job_result``. The
stall is the longest time for which the event loop of the CSC did nothing else, and that of which it
computed; heartbeats by the times at which they were written.

Targets: nothing lost, nothing doubled; the first ack of one more run waits for none of the others'
HTTP (two answers take as long as they take, and it has its turn among the others' computing, the last
column times the runs before it); heartbeat gap < 1200 ms; stall < 50 ms; of requests, job lists
included, at most 6 + duration/WAIT a job, where WAIT is 30 s.
"""

_SCALE = """\
Runs of no duration, 200 at a time, on a back end that answers at once: the resident memory of the
CSC before and after. Then the ledger is filled, by its own code, with copies of the last of these
runs, spread over 30 days, and the CSC is started on it.

Targets: at most 30 MB more after 10 000 finished runs; first summaryState ≤ 2 s after the start with
100 000 old runs.
"""

_SERVICE = """\
``ocps service`` with SQLite, and with PostgreSQL on the same machine, asked over plain HTTP
connections by another process. The database is filled by the code of the store with completed jobs
of earlier days, ten times as many from row to row. While all of them are listed, one of them is
read again and again: nobody is to wait for the list. Jobs a second: 16 clients create jobs that run
``true``, and wait for the end of each. A thousand connections then wait (WAIT) for one job that is
aborted: the memory is the whole of the resident memory of the service, and the time goes from the
``endTime`` of the job to the last answer. What the service computed in that time is measured to
10 ms; the rest is what it waits for a processor, and what the clients take to read. With PostgreSQL
a thousand wait for such a job at a second service, too.

Targets: list of 100 ≤ 20 ms with 100 000 jobs; a thousand waiting ≤ 200 MB, and ≤ 100 ms from the
end of the job to the last answer.
"""

_SAL = """\
A CSC, a Remote and a broker, without jobs.
"""

_MEMORY = """\
A process writes and reads 200 events a second: the last tenth of the time against the second one.
"""

TEXTS: Mapping[str, tuple[str, str]] = {
    "bridge": ("The whole bridge", _BRIDGE),
    "runs": ("Many runs at once, on slow back ends", _RUNS),
    "scale": ("What many runs leave behind", _SCALE),
    "service": ("The UWS service", _SERVICE),
    "sal": ("The SAL runtime alone", _SAL),
    "memory": ("Memory of the SAL runtime", _MEMORY),
}
"""Title and text of each part, in reStructuredText."""
