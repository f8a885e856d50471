"""Sequences drawn without replacement, each draw in proportion to the weights of those that are left."""

import hashlib
import operator
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Int

#: Candidates whose random numbers come from one generator. Another number would draw another permutation.
_CHUNK = 2**20


def weighted_permutation(
    weight: ArrayLike, number: int, *, seed: int = 0, branch: tuple[int, ...] = ()
) -> Int[np.ndarray, " number"]:
    """The first draws without replacement: each takes one of the candidates that are left, in proportion to weight.

    Candidate i has the key ``E_i / weight_i``, E_i exponential with mean 1; the draws are the candidates by increasing
    key. Keys are made a chunk at a time and only the smallest are kept, so that memory holds twice the draws, however
    many candidates there are.

    Args:
        weight: (candidates,) finite and at least 0; a candidate of weight 0 is never drawn.
        number: of draws; at most the candidates of a weight above 0.
        seed: of the random numbers, at least 0.
        branch: whole numbers, at least 0, that tell draws of one seed apart.

    Returns:
        (number,) candidates, in the order in which they are drawn.

    Raises:
        ValueError: weights that are not finite, negative, or of another shape; more draws than candidates.

    Example:
        >>> sorted(weighted_permutation([1.0, 0.0, 2.0, 1.0], 3).tolist())
        [0, 2, 3]

    Source: P. S. Efraimidis and P. G. Spirakis, Weighted random sampling with a reservoir, 2006.
    """
    weight = checked_weights(weight, number)
    key, candidate = np.empty(0), np.empty(0, np.int64)
    for chunk, start in enumerate(range(0, len(weight), _CHUNK)):
        part = weight[start : start + _CHUNK].astype(np.float64)
        drawn = np.flatnonzero(part > 0)
        # Logarithms: a quotient by a tiny weight would overflow.
        own = np.log(_exponential(len(part), seed, (*branch, chunk))[drawn]) - np.log(part[drawn])
        if len(key) == number:
            drawn, own = drawn[own < key.max()], own[own < key.max()]
        key, candidate = np.concatenate([key, own]), np.concatenate([candidate, start + drawn])
        if len(key) > number:
            kept = np.sort(np.argpartition(key, number - 1)[:number])
            key, candidate = key[kept], candidate[kept]
    return candidate[np.argsort(key, kind="stable")]


def _exponential(number: int, seed: int, branch: tuple[int, ...]) -> np.ndarray:
    """Exponential random numbers from raw bits, which NumPy keeps alike in all its versions."""
    raw = np.random.Philox(np.random.SeedSequence(seed, spawn_key=branch)).random_raw(number)
    return -np.log(((raw >> np.uint64(11)) + 0.5) * 2.0**-53)


def checked_weights(weight: ArrayLike, number: int) -> Float[np.ndarray, " candidates"]:
    """Weights as an array from which so many can be drawn."""
    weight = np.asarray(weight)
    if weight.ndim != 1 or weight.dtype.kind not in "fiu":
        raise ValueError(f"weight: got {weight.dtype} of shape {weight.shape}, expected (candidates,) numbers")
    if not (np.all(np.isfinite(weight)) and np.all(weight >= 0)):
        at = int(np.argmin(np.isfinite(weight) & (weight >= 0)))
        raise ValueError(f"weight: that of candidate {at} is {weight[at]}, expected finite numbers of at least 0")
    drawable = int(np.count_nonzero(weight))
    if not 0 < number <= drawable:
        raise ValueError(
            f"number: got {number} draws without replacement from {drawable:,} candidates of a weight above 0, "
            f"expected 1 to {drawable:,}"
        )
    return weight


class Sampler:
    """Numbers of sequences to train on, epoch by epoch: without replacement, by weight, resumable.

    An epoch is the first ``number`` draws of a new `weighted_permutation` of the candidates; with far fewer draws than
    candidates a sequence is drawn in proportion to its weight. The sampler is iterable, has a length, and is indexed by
    the draw, so that PyTorch's `DataLoader` takes it as its sampler and grain's `MapDataset.source` as its source.

    Args:
        weight: (candidates,) of `tsl_jax.score_store` or any others, at least 0.
        number: draws of an epoch, of all processes together.
        seed: of the random numbers, the same in all processes.
        rank: number of this process.
        ranks: how many processes there are; each gets every ``ranks``-th draw, and what would be left over for some of
            them only is not drawn.

    Raises:
        ValueError: as `weighted_permutation`, or a rank that is none of the ranks.

    Example:
        >>> sampler = Sampler([1.0, 1.0, 4.0, 0.0], number=2, seed=3)
        >>> first, second = list(sampler), list(sampler)  # two epochs
        >>> sampler = Sampler([1.0, 1.0, 4.0, 0.0], number=2, seed=3)
        >>> _ = next(iter(sampler))
        >>> again = Sampler([1.0, 1.0, 4.0, 0.0], number=2, seed=3)
        >>> again.load_state_dict(sampler.state_dict())
        >>> list(again) == first[1:], list(again) == second
        (True, True)
    """

    def __init__(self, weight: ArrayLike, number: int, *, seed: int = 0, rank: int = 0, ranks: int = 1) -> None:
        if not 0 <= rank < ranks:
            raise ValueError(f"rank: got {rank} of {ranks}, expected 0 to {ranks - 1}")
        if number < ranks:
            raise ValueError(f"number: got {number} draws for {ranks} processes, expected one each at least")
        self._weight = checked_weights(weight, number)
        self._weights = _digest(self._weight)
        self.number, self.seed, self.rank, self.ranks = number, seed, rank, ranks
        self._epoch, self._drawn = 0, 0  # by all processes, in this epoch
        # How often weights changed, in which epoch the last time, and what was drawn in it before that.
        self._change, self._changed_in, self._before = 0, 0, np.empty(0, np.int64)
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def __len__(self) -> int:
        """Draws of this process in a whole epoch."""
        return self.number // self.ranks

    def __iter__(self) -> Iterator[int]:
        """Draws from where the sampler stands to the end of its epoch; the next iteration begins the next epoch."""
        epoch = self._epoch
        while self._epoch == epoch:
            drawn = int(self._draws(epoch)[self._drawn + self.rank])
            self._drawn += self.ranks
            if self._drawn + self.ranks > self.number:
                self._epoch, self._drawn = epoch + 1, 0
            yield drawn

    def __getitem__(self, draw: int) -> int:
        """A draw of this process, counted from 0 at the start of the first epoch; it does not move the sampler.

        Raises:
            IndexError: a negative draw, or one of an epoch before weights changed.
        """
        epoch, within = divmod(operator.index(draw), len(self))
        if epoch < self._changed_in:
            raise IndexError(f"draw {draw}: expected {self._changed_in * len(self)} or above")
        return int(self._draws(epoch)[within * self.ranks + self.rank])

    def reweight(self, weight: ArrayLike) -> None:
        """Go on with other weights; what was drawn in this epoch stays drawn. All processes call it at one draw.

        Args:
            weight: (candidates,) at least 0.

        Raises:
            ValueError: as `weighted_permutation`, or other candidates; the weights are kept as they were.
        """
        weight = checked_weights(weight, self.number)
        if weight.shape != self._weight.shape:
            raise ValueError(f"weight: got {len(weight)} candidates, expected the {len(self._weight)} there are")
        before = self._draws(self._epoch)[: self._drawn].copy()
        self._weight, self._weights, self._orders = weight, _digest(weight), {}
        self._change, self._changed_in, self._before = self._change + 1, self._epoch, before

    def state_dict(self, draw: int | None = None) -> dict[str, Any]:
        """Where the sampler stands: whole numbers, and the draws of the epoch in which weights changed before that.

        Args:
            draw: of this process to go on with, counted as by indexing; by default the next one to be handed out. A
                loader that reads ahead has not delivered all that were handed out: then it is how many were trained on.

        Raises:
            IndexError: a draw of an epoch before weights changed.
        """
        epoch, drawn = self._epoch, self._drawn
        if draw is not None:
            epoch, drawn = divmod(operator.index(draw), len(self))
            drawn *= self.ranks
        if epoch < self._changed_in:
            raise IndexError(f"draw {draw}: expected {self._changed_in * len(self)} or above")
        here = {"seed": self.seed, "number": self.number, "weights": self._weights}
        here |= {"epoch": epoch, "drawn": drawn, "change": self._change, "changed_in": self._changed_in}
        return here | {"before": self._before.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a sampler of the same weights, number and seed stood, of any number of processes.

        Args:
            state: of `state_dict`.

        Raises:
            ValueError: the state of another sampler; this one is kept as it was.
        """
        own = self.state_dict()
        if state.keys() != own.keys():
            raise ValueError(f"state: got {sorted(state)}, expected what Sampler.state_dict returns: {sorted(own)}")
        for name in ("seed", "number", "weights"):
            if state[name] != own[name]:
                raise ValueError(
                    f"state: its {name} are not this sampler's ({state[name]}, {own[name]} here); make the sampler "
                    "with the weights, number and seed that it was saved with, then load the state"
                )
        whole = (int(state[name]) for name in ("epoch", "drawn", "change", "changed_in"))
        self._epoch, self._drawn, self._change, self._changed_in = whole
        self._before, self._orders = np.asarray(state["before"], np.int64), {}
        if self._drawn + self.ranks > self.number:  # of more processes than before: too few are left for one each
            self._epoch, self._drawn = self._epoch + 1, 0

    def _draws(self, epoch: int) -> np.ndarray:
        """(number,) candidates of an epoch, in the order in which all processes together draw them."""
        branch = (epoch, self._change)
        order = self._orders.get(branch)
        if order is None:
            before = self._before if epoch == self._changed_in else self._before[:0]
            weight, left = self._weight, self.number - len(before)
            if len(before):
                weight = weight.copy()
                weight[before] = 0
            rest = weighted_permutation(weight, left, seed=self.seed, branch=branch) if left else before[:0]
            order = np.concatenate([before, rest])
            # Of two epochs, since a loader that reads ahead goes back and forth where one ends.
            self._orders = dict([*list(self._orders.items())[-1:], (branch, order)])
        return order


def _digest(weight: np.ndarray) -> int:
    """A whole number that tells weights apart."""
    return int.from_bytes(hashlib.blake2b(np.ascontiguousarray(weight).data, digest_size=7).digest(), "big")
