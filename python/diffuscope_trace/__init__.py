"""Records a run of a diffusers Stable Diffusion pipeline as a trace, a folder that diffuscope reads.

    import diffuscope_trace

    with diffuscope_trace.record(pipe, "run.trace"):
        pipe("a red apple", num_inference_steps=20)
"""
from .errors import RecordingStopped, TraceError
from .recorder import Recorder, record
from .version import __version__

__all__ = ["Recorder", "RecordingStopped", "TraceError", "__version__", "record"]
