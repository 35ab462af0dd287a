"""Tiny labelled sets for the accuracy benchmark: easy to learn, written in milliseconds."""

from __future__ import annotations

import numpy as np

WIDTH = 6
PER_SNIPPET = 4


def write_set(folder, *, train=12, test=8, folds=0, labels=(0, 1), truth=True, seed=0):
    """Write a manifest whose anomalous stretches stand out, and return its path."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["video,features,label,frames_per_snippet,frame_labels,split,fold"]
    for i in range(train + test):
        label = labels[i % len(labels)]
        length = int(rng.integers(17, 30))
        features = rng.normal(size=(length, WIDTH)).astype(np.float32)
        frames = np.zeros(length * PER_SNIPPET, np.uint8)
        if label:
            start = int(rng.integers(2, 8))
            features[start : start + 7] += 3
            frames[start * PER_SNIPPET + 1 : (start + 7) * PER_SNIPPET] = 1
        np.save(folder / f"v{i}.npy", features)
        np.save(folder / f"v{i}-gt.npy", frames)
        is_test = i >= train
        with_truth = truth and label and (is_test or folds)
        lines.append(
            f"v{i},v{i}.npy,{label},{PER_SNIPPET},{f'v{i}-gt.npy' if with_truth else ''},"
            + (f",{i // 2 % folds}" if folds else f"{'test' if is_test else 'train'},")
        )
    manifest = folder / "videos.csv"
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return manifest
