import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ladnet_fast.data import (
    Bag,
    BagDataset,
    BalancedBatchSampler,
    DataError,
    FeatureSource,
    bin_mean,
    collate,
    linspace_sample,
)


def test_every_crop_of_every_video_is_a_sample(make_video):
    videos = [
        make_video("a", ((5, 4),) * 3, label=1),
        make_video("b", ((7, 4),)),
        make_video("c", ((6, 5, 4),), label=1),
    ]
    data = BagDataset(videos)
    assert data.samples == [
        *[(0, 0), (0, 1), (0, 2), (1, 0)],
        *[(2, crop) for crop in range(5)],
    ]
    assert data.labels.tolist() == [1, 1, 1, 0, 1, 1, 1, 1, 1]
    assert (data.feature_dim, data.query_dim, len(data)) == (4, None, 9)
    np.testing.assert_array_equal(data[1].features, np.load(videos[0].features[1].path))
    np.testing.assert_array_equal(data[5].features, np.load(videos[2].features[0].path)[:, 1])
    assert BagDataset(videos, crops="first").samples == [(0, 0), (1, 0), (2, 0)]


@pytest.mark.parametrize(
    ("sampling", "size", "expected"),
    [
        ("linspace", None, linspace_sample),
        ("linspace", 20, lambda x: linspace_sample(x, 20)),
        ("bins", None, bin_mean),
        ("bins", 8, lambda x: bin_mean(x, 8)),
        ("none", None, lambda x: x),
    ],
)
def test_features_and_query_are_sampled_alike(make_video, save, sampling, size, expected):
    query = save("q.npy", (301, 3))
    video = make_video(shapes=((300, 4),), query=FeatureSource(query))
    data = BagDataset([video], sampling=sampling, size=size)
    bag = data[0]
    assert data.query_dim == 3
    np.testing.assert_array_equal(bag.features, expected(np.load(video.features[0].path)))
    np.testing.assert_array_equal(bag.query, expected(np.load(query)[:300]))


def test_preloaded_samples_need_the_files_no_more(make_video):
    video = make_video()
    expected = np.load(video.features[0].path)
    data = BagDataset([video], preload=True)
    video.features[0].path.unlink()
    np.testing.assert_array_equal(data[0].features, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": "uniform"}, "sampling must be one of .*'uniform'"),
        ({"crops": "centre"}, "crops must be one of"),
        ({"size": 0}, "size must be at least 1"),
        ({"sampling": "none", "size": 5}, "size must be at least 1, and is for"),
    ],
)
def test_bad_argument_is_refused(make_video, options, message):
    with pytest.raises(ValueError, match=message):
        BagDataset([make_video()], **options)


def test_no_video_is_refused():
    with pytest.raises(ValueError, match="videos is empty"):
        BagDataset([])


def test_videos_must_agree_in_width_and_in_having_a_query(make_video, save):
    narrow = BagDataset([make_video("a"), make_video("b", ((5, 3),))])
    with pytest.raises(DataError, match=r"b__0\.npy: features are 3 wide.*first video, 'a', are 4"):
        narrow[1]
    queries = [FeatureSource(save(f"q{i}.npy", (5, 2 + i))) for i in range(2)]
    data = BagDataset([make_video(n, query=q) for n, q in zip("ab", queries, strict=True)])
    with pytest.raises(DataError, match=r"q1\.npy: features are 3 wide"):
        data[1]
    with pytest.raises(ValueError, match="'a' has one and 'b' has none"):
        BagDataset([make_video("b"), make_video("a", query=queries[0])])


def _bag(length: int, label: int = 0, query: bool = False, width: int = 2) -> Bag:
    features = torch.full((length, width), float(length))
    return Bag(features, label, features[:, :1] + 1 if query else None)


@pytest.mark.parametrize(("pad_to", "length"), [(None, 3), (3, 3), (7, 7)])
@pytest.mark.parametrize("query", [False, True])
def test_batch_is_padded_with_zeros_and_keeps_true_lengths(pad_to, length, query):
    bags = [_bag(3, 1, query), _bag(1, 0, query)]
    batch = collate(bags, pad_to=pad_to)
    assert batch.features.shape == (2, length, 2)
    assert batch.lengths.tolist() == [3, 1]
    assert batch.lengths.dtype == torch.int64
    assert batch.labels.tolist() == [1.0, 0.0]
    assert batch.labels.dtype == torch.float32
    for row, bag in enumerate(bags):
        size = len(bag.features)
        assert torch.equal(batch.features[row, :size], bag.features)
        assert not batch.features[row, size:].any()
        if query:
            assert torch.equal(batch.query[row, :size], bag.query)
            assert not batch.query[row, size:].any()
    assert query or batch.query is None


@pytest.mark.parametrize(
    ("bags", "options", "message"),
    [
        ([], {}, "bags is empty"),
        ([_bag(3)], {"pad_to": 2}, "pad_to must be at least the longest bag's 3 snippets; got 2"),
        ([_bag(3, query=True), _bag(3)], {}, "bags must all have a query, or none; got 1 of 2"),
        ([_bag(3), _bag(3, width=5)], {}, r"of one width; got \[2, 5\]"),
    ],
)
def test_bags_that_fit_no_batch_are_refused(bags, options, message):
    with pytest.raises(ValueError, match=message):
        collate(bags, **options)


def test_loader_with_workers_gives_the_samples_in_the_samplers_order(make_video):
    data = BagDataset([make_video(f"v{i}", ((i + 1, 4),), label=i % 2) for i in range(6)])
    sampler = BalancedBatchSampler(data.labels, 4, seed=3)
    loader = DataLoader(data, batch_sampler=sampler, collate_fn=collate, num_workers=1)
    for indices, batch in zip(sampler, loader, strict=True):
        expected = collate([data[i] for i in indices])
        for got, wanted in zip(batch[:3], expected[:3], strict=True):
            assert torch.equal(got, wanted)
