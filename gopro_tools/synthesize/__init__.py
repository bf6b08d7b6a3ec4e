"""High-frame-rate video in, blurred/sharp pairs in the GOPRO_Large layout out.

The pipeline, in the order data takes: `config` (what the user asks for) -> `plan` (sources, clips,
windows, segments) -> `segment` (decode, check, average, write: the only part that runs in worker
processes) -> `publish` (manifest, dataset card, preview). `run` drives it, remembers what is done
and resumes after an interruption.
"""

from gopro_tools.synthesize.config import SynthesisConfig
from gopro_tools.synthesize.main import main
from gopro_tools.synthesize.run import Summary, synthesize
from gopro_tools.verbs import callable_package

__all__ = ["Summary", "SynthesisConfig", "main", "synthesize"]


callable_package(__name__, "gopro_tools.synthesize.run:synthesize")
