"""Property tests decide by what is true, not by how fast a shared machine is today."""

from hypothesis import settings

settings.register_profile("ocps", deadline=None)
settings.load_profile("ocps")
