"""The order of training rows: like lengths together, and the same when an epoch is resumed."""

from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

from finegates_engine.data.batches import bucketed_batches


class BucketSampler(Sampler[int]):
    """Row indices of one epoch, in batches of like length (`batches.bucketed_batches`).

    The order depends on seed and epoch alone, not on the state of any generator: a training that
    goes on inside an epoch meets the same batches as one that was never interrupted. Hugging
    Face's own grouping by length draws from torch's global generator, and does not. The batch
    that is not full comes last, where a loader cuts batches of `batch_size`.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, *, seed: int) -> None:
        self.lengths = list(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch, a resumed one included."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        batches = bucketed_batches(self.lengths, self.batch_size, seed=self.seed, epoch=self.epoch)
        batches.sort(key=lambda batch: len(batch) < self.batch_size)
        for batch in batches:
            yield from batch
