"""What a loader refuses. Messages may be shown as they are."""

from storage.engines import StoreError


class LoadError(StoreError):
    """The file cannot be loaded."""


class MappingError(LoadError):
    """The mapping says something that cannot be."""
