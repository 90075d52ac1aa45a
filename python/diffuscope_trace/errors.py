"""What can go wrong."""


class TraceError(RuntimeError):
    """A run or a folder that cannot be recorded. Nothing was written, and the pipeline did not run."""


class RecordingStopped(UserWarning):
    """The recording ended before the run. What was recorded until then is readable."""


class Full(Exception):
    """Inside of this package: the limit or the disk leaves no room for another tensor."""
