"""Audio of videos as the second modality: VGGish's 128 numbers for each snippet."""

from .decode import NoAudioError, read_audio
from .logmel import SAMPLE_RATE, examples, log_mel
from .queries import QueryOutcome, extract_queries
from .vggish import VGGish, load_vggish

__all__ = [
    "SAMPLE_RATE",
    "NoAudioError",
    "QueryOutcome",
    "VGGish",
    "examples",
    "extract_queries",
    "load_vggish",
    "log_mel",
    "read_audio",
]
