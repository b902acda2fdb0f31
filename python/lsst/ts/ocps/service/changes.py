"""Changes of the parameters of a job that has not been run yet, and of the files that come with it."""

from collections.abc import Awaitable, Callable

from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.uws.phases import ExecutionPhase

from .errors import RequestError, UsageError, WrongPhaseError
from .forms import Form
from .parameter_checks import check_parameters
from .quotas import Quotas
from .schema import StoredJob, StoredUpload
from .uploads import UPLOAD, UploadStore, read_uploads

__all__ = ["ParameterChanges"]


class ParameterChanges:
    """Replaces parameters and uploads; of requests at the same time none undoes what another has done.

    Parameters
    ----------
    quotas
        Writes them down, if the owner may keep so much.
    uploads
        Keeps the files.
    """

    def __init__(self, quotas: Quotas, uploads: UploadStore) -> None:
        self._quotas = quotas
        self._uploads = uploads

    async def make(
        self, read: Callable[[], Awaitable[StoredJob]], definition: PayloadDefinition, form: Form
    ) -> StoredJob:
        """Do what a form asks for.

        Parameters
        ----------
        read
            Reads the job as it is now.
        definition
            Its payload.
        form
            The parameters to set; all others are left as they are.

        Raises
        ------
        UsageError
            If a parameter is wrong, or none is given.
        WrongPhaseError
            If the job is not PENDING.
        QuotaError
            If there are files, and the owner keeps as much as they may.
        """
        stored = _check_pending(await read())
        if not form.pairs and not form.files:
            raise UsageError("no parameter is given")
        files = read_uploads(form, definition, self._uploads.section)
        received = [upload for upload, _ in files]
        await self._uploads.keep(stored.job_id, files)
        try:
            changed, replaced = await self._replace(read, definition, form, received)
        except RequestError:
            # After a failure of the database it is not certain that nothing was changed.
            await self._uploads.forget(stored.job_id, received)
            raise
        await self._uploads.forget(stored.job_id, replaced)
        return changed

    async def _replace(
        self,
        read: Callable[[], Awaitable[StoredJob]],
        definition: PayloadDefinition,
        form: Form,
        received: list[StoredUpload],
    ) -> tuple[StoredJob, list[StoredUpload]]:
        """The job afterwards, and the uploads that have been replaced."""
        pairs = form.without({UPLOAD})
        names = {name.upper() for name, _ in pairs}
        names_received = {upload.name for upload in received}
        while True:
            stored = _check_pending(await read())
            kept = tuple(pair for pair in stored.pairs if pair[0].upper() not in names)
            others = [upload for upload in stored.uploads if upload.name not in names_received]
            checked = await check_parameters(definition, (*kept, *pairs))
            changed = await self._quotas.set_parameters(stored, checked, (*others, *received))
            if changed is not None:
                return changed, [upload for upload in stored.uploads if upload not in others]
            # It has been run, or others of its parameters have been changed, since it was read.


def _check_pending(stored: StoredJob) -> StoredJob:
    if stored.phase is not ExecutionPhase.PENDING:
        raise WrongPhaseError(f"parameters cannot be changed any more, the job is {stored.phase}")
    return stored
