r"""What VGGish hears: log-mel patches of 0.96 seconds, as AudioSet's description defines them.

Frames of 25 ms (400 samples) every 10 ms are weighted by a periodic Hann window; of their Fourier
transform of 512 points the magnitudes go through 64 triangles that are equally wide on the scale

.. math:: m(f) = 1127 \ln(1 + f / 700)

between 125 and 7,500 Hz (the constant bin is left out); then :math:`\log(x + 0.01)`. A patch is 96
frames (tensorflow/models, research/audioset/vggish, mel_features.py and vggish_params.py).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16_000
WINDOW, HOP, FFT = 400, 160, 512
BANDS, LOWEST, HIGHEST = 64, 125.0, 7500.0
OFFSET = 0.01
PATCH_FRAMES = 96
PATCH_SECONDS = 0.96

_BLOCK = 8192  # frames whose spectrum is computed at a time


def log_mel(waveform: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return the log-mel spectrogram of a waveform, a row for each whole frame.

    Parameters
    ----------
    waveform : array, (samples,)
        One channel at 16 kHz, in [-1, 1].

    Returns
    -------
    ndarray, (frames, 64), float32
        Computed in float64; none where there are fewer than 400 samples.
    """
    samples = np.asarray(waveform)
    if samples.ndim != 1 or samples.dtype.kind not in "fiu":
        raise ValueError(
            f"waveform must be one channel of real numbers, (samples,); got {samples.dtype} of "
            f"shape {samples.shape}"
        )
    if len(samples) < WINDOW:
        return np.zeros((0, BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi / WINDOW * np.arange(WINDOW))
    rows = []
    for start in range(0, len(frames), _BLOCK):
        spectrum = np.abs(np.fft.rfft(frames[start : start + _BLOCK] * hann, FFT))
        rows.append(np.log(spectrum @ _mel_matrix() + OFFSET).astype(np.float32))
    return np.concatenate(rows)


def examples(
    waveform: npt.ArrayLike, *, hop_seconds: float = PATCH_SECONDS, count: int | None = None
) -> npt.NDArray[np.float32]:
    """Return the patches of a waveform.

    Parameters
    ----------
    waveform : array, (samples,)
        See `log_mel`.
    hop_seconds : float
        From the start of one patch to that of the next, to the nearest 10 ms frame. AudioSet's is
        0.96: no overlap. The time of a snippet gives a patch for each snippet.
    count : int, optional
        How many: silence follows the waveform's end where it is too short. Default: the whole
        patches there are.

    Returns
    -------
    ndarray, (patches, 96, 64), float32
    """
    if not hop_seconds > 0 or not np.isfinite(hop_seconds):
        raise ValueError(f"hop_seconds must be greater than 0; got {hop_seconds}")
    samples = np.asarray(waveform)
    step = hop_seconds * SAMPLE_RATE / HOP  # in frames
    if count is not None:
        last = round((count - 1) * step) + PATCH_FRAMES
        needed = (last - 1) * HOP + WINDOW
        if needed > len(samples):
            samples = np.concatenate([samples, np.zeros(needed - len(samples), samples.dtype)])
    frames = log_mel(samples)
    if count is None:
        count = 0
        while round(count * step) + PATCH_FRAMES <= len(frames):
            count += 1
    starts = [round(k * step) for k in range(count)]
    patches = [frames[start : start + PATCH_FRAMES] for start in starts]
    return np.stack(patches) if patches else np.zeros((0, PATCH_FRAMES, BANDS), np.float32)


@lru_cache(maxsize=1)
def _mel_matrix() -> npt.NDArray[np.float64]:
    """Return the weights of the triangles, (257, 64)."""

    def mel(hertz: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return 1127.0 * np.log(1.0 + np.asarray(hertz, np.float64) / 700.0)

    bins = mel(np.linspace(0.0, SAMPLE_RATE / 2, FFT // 2 + 1))[:, None]
    edges = np.linspace(mel(LOWEST), mel(HIGHEST), BANDS + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - lower) / (centre - lower), (upper - bins) / (upper - centre)
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights[0] = 0.0
    return weights
