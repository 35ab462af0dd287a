"""Audio of videos as the second modality: VGGish's 128 numbers for each snippet."""

from ladnet_fast.video.audio.decode import NoAudioError, read_audio
from ladnet_fast.video.audio.logmel import SAMPLE_RATE, examples, log_mel
from ladnet_fast.video.audio.queries import QueryOutcome, extract_queries
from ladnet_fast.video.audio.vggish import VGGish, load_vggish

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
