"""`RapidAnalysisBackend` on lists of any kind."""

from collections.abc import Callable

from typing_extensions import override

from lsst.ts.ocps.client.rapid_analysis import Lists, RapidAnalysisBackend

from .backend_bench import BackendBench, Pairs, Wish

__all__ = ["RapidAnalysisBench"]


class RapidAnalysisBench(BackendBench):
    """A back end that pushes, and has no jobs.

    Parameters
    ----------
    open_lists
        Gives the lists that all of its back ends push to.
    version
        Version of the server.
    """

    def __init__(self, open_lists: Callable[[], Lists], version: str) -> None:
        self._open_lists = open_lists
        self.version = version
        self.backend = self.open_another()

    @override
    def open_another(self) -> RapidAnalysisBackend:
        return RapidAnalysisBackend("rapid", self._open_lists())

    @override
    def parameters(self, wish: Wish) -> Pairs:
        return (("config", '{"LATISS": ["no text"]}' if wish.refuse else '{"LATISS": "x"}'),)
