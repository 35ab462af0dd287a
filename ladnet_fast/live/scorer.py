"""Scores of a stream: features come in, scores go out, in memory that stays the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .._values import count, shown
from ..nn import LANet

#: Ten minutes at 25 frames per second and 16 frames per snippet, rounded up.
DEFAULT_WINDOW = 938

Array = npt.NDArray[np.float32]


class StreamScorer:
    """Score the snippets of a stream by LA-Net's exact attention over a window.

    LA-Net's attention is not causal: in a whole video, every snippet's score depends on all
    snippets, later ones too. A stream has no end, so a score is defined by what has arrived when it
    is given: the score of snippet i is what LA-Net gives it in the sequence of the
    last ``window`` snippets once snippet i + ``delay`` has arrived,

        scores(i) = LANet(x[max(0, i + delay + 1 - window) .. i + delay])[i].

    A score that was given never changes. `scores` gives those of the current window as LA-Net sees
    them now; where the window holds the whole video they are its full-length scores.

    Parameters
    ----------
    model : LANet
        On any device; its weights must not change while a stream goes on. Used in evaluation mode.
    window : int
        Snippets that attention sees, at least 1. 938 are ten minutes at 25 frames per second.
    delay : int
        Later snippets that a score waits for and takes in, from 0 to ``window - 1``.
    crops : int
        Crops of each snippet; its score is their mean.

    Notes
    -----
    Keys and values of the window are kept, so a new snippet costs a few rows of the network and not
    a pass over the window. What `push` returns therefore agrees with LA-Net on the window within
    rounding (1e-5 in float32), not bit for bit. It does not depend on how rows are divided
    among calls of `push`.

    Examples
    --------
    >>> scorer = StreamScorer(model, window=938)              # doctest: +SKIP
    >>> for rows in camera:                                   # (n, 1024)  # doctest: +SKIP
    ...     print(scorer.push(rows))                          # n scores
    """

    def __init__(
        self, model: LANet, *, window: int = DEFAULT_WINDOW, delay: int = 0, crops: int = 1
    ) -> None:
        if not isinstance(model, LANet):
            raise ValueError(
                f"model must be a LANet, e.g. ladnet_fast.engine.load_model(RUN); "
                f"got {shown(model)}"
            )
        self.model = model
        self.window = count("window", window)
        self.delay = count("delay", delay, least=0)
        if self.delay >= self.window:
            raise ValueError(
                f"delay must be less than window = {self.window}, since a score's own snippet is "
                f"in its window; got {delay}"
            )
        self.crops = count("crops", crops)
        self.reset()

    def reset(self) -> None:
        """Forget the stream; the next row begins another one."""
        #: Snippets pushed, and snippets whose score has been given.
        self.pushed = self.scored = 0
        self._rows: _Window | None = None
        self._queries: _Window | None = None
        self._keys: _Window | None = None
        self._values: _Window | None = None

    def push(
        self, rows: npt.ArrayLike | Tensor, query: npt.ArrayLike | Tensor | None = None
    ) -> Array:
        """Take the features of the next snippets and return the scores that are due.

        Parameters
        ----------
        rows : array-like or Tensor
            (n, feature_dim), or (crops, n, feature_dim).
        query : array-like or Tensor, optional
            (n, query_dim) or (crops, n, query_dim), exactly when the network has ``query_dim``.

        Returns
        -------
        ndarray
            (m,) float32: the scores of the snippets ``scored`` .. ``scored + m - 1``, as ``scored``
            was before the call; m = n once ``delay`` snippets wait.

        Raises
        ------
        ValueError
            If a shape doesn't fit, or a score is not finite.
        """
        new = self._checked("rows", rows, self.model.feature_dim)
        asked = None
        if (query is None) != (self.model.query_dim is None):
            raise ValueError(
                "query is given, but the network was made without query_dim; leave it out"
                if query is not None
                else f"query is missing: the network wants (n, {self.model.query_dim})"
            )
        if query is not None and self.model.query_dim is not None:
            asked = self._checked("query", query, self.model.query_dim)
            if asked.shape[1] != new.shape[1]:
                raise ValueError(
                    f"query must have the {new.shape[1]} snippets of rows; got {asked.shape[1]}"
                )
        given: list[float] = []
        with self._evaluating():
            for i in range(new.shape[1]):
                self._append(new[:, i], None if asked is None else asked[:, i])
                self.pushed += 1
                if self.pushed - self.scored > self.delay:
                    given.append(self._score_at(self.delay))
                    self.scored += 1
        return np.array(given, np.float32)

    def finish(self) -> Array:
        """Return the scores of the last ``delay`` snippets, which have no more future to wait for.

        They are those of the current window. The stream may go on afterwards, for example after a
        gap; `reset` begins another one.
        """
        with self._evaluating():
            given = [self._score_at(back) for back in range(self.pushed - self.scored - 1, -1, -1)]
        self.scored = self.pushed
        return np.array(given, np.float32)

    def scores(self) -> Array:
        """Return what LA-Net gives for the current window as a whole, (min(pushed, window),).

        One pass of the network over the window, the mean over crops in float64: what
        `ladnet_fast.engine.score_video` returns for a video of these snippets.
        """
        if self._rows is None:
            return np.empty(0, np.float32)
        with self._evaluating():
            query = None if self._queries is None else self._queries.content()
            scores = self.model(self._rows.content().contiguous(), query=query).scores
            return self._mean(scores)

    def _append(self, row: Tensor, query: Tensor | None) -> None:
        attention = self.model.attention
        parts = [("_rows", row), ("_keys", attention.k(row)), ("_values", attention.v(row))]
        if query is not None:
            parts.append(("_queries", query))
        for name, part in parts:
            held: _Window | None = getattr(self, name)
            if held is None:
                held = _Window(self.window, part)
                setattr(self, name, held)
            held.append(part)

    def _score_at(self, back: int) -> float:
        """Score the snippet that is ``back`` before the newest one, from the current window."""
        assert self._rows is not None
        assert self._keys is not None
        assert self._values is not None
        model = self.model
        length = len(self._rows)
        last = length - 1 - back
        # The convolution sees this snippet and kernel_size - 1 before it; fewer at the start, where
        # it pads with zeros as it does at the start of a video.
        first = max(0, last + 1 - model.kernel_size)
        x = self._rows.content()[:, first : last + 1]
        asks = x if self._queries is None else self._queries.content()[:, first : last + 1]
        attended = self._attend(asks, first, self._keys.content(), self._values.content())
        features = model.mlp(model.norm(x + model.attention.o(attended)))
        score = self._mean(model._score(features)[:, -1:])[0]
        if not np.isfinite(score):
            raise ValueError(
                f"the score of snippet {self.scored} is not finite: its features are not, or the "
                "model's weights are damaged"
            )
        return float(score)

    def _attend(self, asks: Tensor, first: int, keys: Tensor, values: Tensor) -> Tensor:
        """Locality attention of a few positions, from ``first`` on, over the whole window."""
        attention = self.model.attention
        q, k, v = (attention._heads(part) for part in (attention.q(asks), keys, values))
        exact = torch.promote_types(q.dtype, torch.float32)
        logits = (q @ k.mT).to(exact) * q.shape[-1] ** -0.5  # [B, H, m, W]
        nearness = None
        if attention.prior is not None:
            w, b = (part[:, None, None] for part in attention.prior())
            at = torch.arange(k.shape[2], device=q.device, dtype=w.dtype)
            distance2 = (at[first : first + q.shape[2], None] - at).square()  # [m, W]
            nearness = torch.exp(-(w * distance2 + b).abs())
        if attention.prior_kind == "logit" and nearness is not None:
            logits = logits + nearness
        weights = logits.softmax(-1)
        if attention.prior_kind == "additive" and nearness is not None:
            weights = weights + nearness
        return (weights.to(v.dtype) @ v).transpose(1, 2).flatten(2)

    def _mean(self, scores: Tensor) -> Array:
        return scores.double().mean(0).cpu().numpy().astype(np.float32)

    def _checked(self, name: str, given: npt.ArrayLike | Tensor, width: int) -> Tensor:
        weight = self.model.attention.k.weight
        part = given if isinstance(given, Tensor) else torch.from_numpy(np.asarray(given))
        if not part.is_floating_point():
            raise ValueError(f"{name} must be floating-point numbers; got {part.dtype}")
        if part.ndim == 2 and self.crops == 1:
            part = part[None]
        if part.ndim != 3 or part.shape[0] != self.crops or part.shape[2] != width:
            some = f"({self.crops}, n, {width})"
            allowed = f"(n, {width}) or {some}" if self.crops == 1 else some
            raise ValueError(f"{name} must have shape {allowed}; got {tuple(part.shape)}")
        return part.to(weight.device, weight.dtype)

    def _evaluating(self) -> _Evaluating:
        return _Evaluating(self.model)


class _Evaluating:
    """Evaluation mode without gradients, inside a ``with`` block; then the mode that was."""

    def __init__(self, model: LANet) -> None:
        self._model, self._no_gradients = model, torch.inference_mode()

    def __enter__(self) -> None:
        self._was_training = self._model.training
        if self._was_training:
            self._model.eval()
        self._no_gradients.__enter__()

    def __exit__(self, *error: object) -> None:
        self._no_gradients.__exit__(None, None, None)
        if self._was_training:
            self._model.train()


class _Window:
    """The last ``size`` rows of a stream of rows (crops, width), side by side in memory.

    There is room for some more, so that rows are moved to the front only now and then.
    """

    def __init__(self, size: int, row: Tensor) -> None:
        self._size = size
        self._room = size + max(64, size // 4)
        start = min(self._room, 64)  # grows to the full room; many streams end soon
        self._held = row.new_empty(row.shape[0], start, row.shape[1])
        self._first = self._end = 0

    def __len__(self) -> int:
        return self._end - self._first

    def append(self, row: Tensor) -> None:
        if self._end == self._held.shape[1]:
            self._make_room()
        self._held[:, self._end] = row
        self._end += 1
        self._first = max(self._first, self._end - self._size)

    def content(self) -> Tensor:
        return self._held[:, self._first : self._end]

    def _make_room(self) -> None:
        kept = self.content()
        room = min(self._room, max(2 * len(self), 64)) if self._first == 0 else self._room
        held = kept.new_empty(kept.shape[0], room, kept.shape[2])
        held[:, : len(self)] = kept
        self._held, self._first, self._end = held, 0, len(self)
