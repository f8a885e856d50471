"""The transformer against NumPy, its training against a plain loop, and that it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import erf, log_softmax, softmax

from tsl_jax.simulate import (
    TRANSFORMERS,
    Mano,
    ManoTraining,
    Transformer,
    init_transformer,
    mano_batches,
    mano_loss,
    train_mano,
    transformer_states,
)
from tsl_jax.simulate.expressions import draw_expressions, split_key

TASK = Mano(5, (1, 2))
SIZE = Transformer(2, 2, 16)
TRAINING = ManoTraining(batch=32, learning_rate=3e-3, warmup=20)


@pytest.fixture(scope="module")
def params():
    params = init_transformer(jax.random.key(0), SIZE, TASK.vocabulary)
    return params | {"output": jax.random.normal(jax.random.key(1), params["output"].shape)}


def numpy_states(params, tokens, size):
    """The same transformer for one sequence in float64, position by position and head by head."""
    p = {name: np.asarray(values, np.float64) for name, values in params.items()}

    def norm(x, gain):
        return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6) * gain

    def turned(vector, position):
        half = len(vector) // 2
        z = vector[:half] + 1j * vector[half:]
        z = z * np.exp(1j * position * 10_000.0 ** (-np.arange(half) / half))
        return np.concatenate([z.real, z.imag])

    x = p["embedding"][tokens]
    for layer in range(size.layers):
        q, k, v = np.split(norm(x, p["attention_norm"][layer]) @ p["attention_in"][layer], 3, axis=-1)
        mixed = np.zeros_like(x)
        part = size.width // size.heads
        for head in range(size.heads):
            own = slice(head * part, (head + 1) * part)
            for i in range(len(tokens)):
                scores = [turned(q[i, own], i) @ turned(k[j, own], j) / np.sqrt(part) for j in range(i + 1)]
                mixed[i, own] = softmax(scores) @ v[: i + 1, own]
        x = x + mixed @ p["attention_out"][layer]
        inner = norm(x, p["perceptron_norm"][layer]) @ p["perceptron_in"][layer]
        x = x + inner * (1 + erf(inner / np.sqrt(2))) / 2 @ p["perceptron_out"][layer]
    return norm(x, p["norm"])


def test_losses_are_those_of_a_numpy_transformer(params):
    (batch,) = mano_batches(TASK, 8, 8)
    losses = np.asarray(mano_loss(params, batch, SIZE))
    states = np.asarray(transformer_states(params, jnp.asarray(batch["tokens"]), SIZE))
    assert losses.shape == (8, 1)
    for i in range(8):
        expected = numpy_states(params, batch["tokens"][i], SIZE)
        # JAX's GELU is the one with tanh, apart from this one by at most 0.0005.
        np.testing.assert_allclose(states[i], expected, atol=0.01)
        place, answer = batch["position"][i, 0], batch["token_id"][i, 0]
        logits = log_softmax(expected[place - 1] @ np.asarray(params["output"], np.float64))
        assert losses[i, 0] == pytest.approx(-logits[answer], abs=0.03)


def test_the_answer_and_what_follows_are_not_seen(params):
    (batch,) = mano_batches(TASK, 8, 8)
    losses = mano_loss(params, batch, SIZE)
    hidden = np.where(np.arange(TASK.context) < batch["position"], batch["tokens"], 0)
    np.testing.assert_array_equal(mano_loss(params, batch | {"tokens": hidden}, SIZE), losses)


def test_training_is_a_plain_loop():
    made = dict(train_mano([0, 1, 3], TASK, SIZE, training=TRAINING, seed=5))
    assert list(made) == [0, 1, 3]
    rule = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(TRAINING.schedule, weight_decay=0.01))
    params = made[0]
    state = rule.init(params)

    def objective(params, drawn):
        states = transformer_states(params, drawn.tokens, SIZE)
        logits = jax.nn.log_softmax(states @ params["output"])
        rows = jnp.arange(len(drawn.answer))
        return -jnp.mean(logits[rows, drawn.answer_position - 1, drawn.answer])

    gradient = jax.jit(jax.grad(objective))
    for count in range(3):
        drawn = draw_expressions(jax.random.fold_in(split_key(5, "training"), count), TASK, TRAINING.batch)
        update, state = rule.update(gradient(params, drawn), state, params)
        params = optax.apply_updates(params, update)
    for name, values in params.items():
        np.testing.assert_allclose(made[3][name], values, atol=1e-4, err_msg=name)
    other = dict(train_mano([0], TASK, SIZE, training=TRAINING, seed=6))
    assert not np.allclose(other[0]["embedding"], made[0]["embedding"])


def test_it_learns_short_expressions_before_long_ones():
    """Checkpoints arrive one by one, and the loss of unseen answers falls from a uniform guess."""
    batches = mano_batches(TASK, 512, 512)
    length = batches[0]["domain"]
    losses = []
    for step, params in train_mano([0, 200, 400], TASK, SIZE, training=TRAINING):
        loss = np.asarray(mano_loss(params, batches[0], SIZE))[:, 0]
        losses.append([loss[length == one].mean() for one in (1, 2)])
        assert step in (0, 200, 400)
    np.testing.assert_allclose(losses[0], np.log(TASK.vocabulary), rtol=1e-5)
    assert losses[2][0] < losses[1][0] < losses[0][0]
    assert losses[2][0] < 1.0
    assert losses[2][0] < losses[2][1]


def test_the_paper_preset_has_its_size():
    size = TRANSFORMERS["paper"]
    shapes = jax.eval_shape(lambda key: init_transformer(key, size, Mano().vocabulary), jax.random.key(0))
    assert sum(values.size for values in jax.tree.leaves(shapes)) == 8 * 12 * 512**2 + 17 * 512 + 2 * 29 * 512


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Transformer(layers=0), "layers: got 0"),
        (lambda: Transformer(heads=3, width=16), "width: got 16, expected a multiple of 6, twice the heads"),
        (lambda: init_transformer(jax.random.key(0), SIZE, 1), "vocabulary: got 1"),
        (lambda: ManoTraining(learning_rate=0.0), "learning_rate: got 0.0, expected a number above 0"),
        (lambda: ManoTraining(warmup=-1), "warmup: got -1"),
        (lambda: ManoTraining(decay_steps=50), "decay_steps: got 50, expected more than the warm-up, 100"),
        (lambda: ManoTraining(weight_decay=-1.0), "weight_decay: got -1.0"),
        (lambda: ManoTraining(batch=0), "batch: got 0"),
        (lambda: train_mano([3, 2]), "record: got 3 to 2, expected increasing steps"),
        (lambda: train_mano([1], seed=-1), "seed: got -1"),
    ],
)
def test_bad_input_says_what_is_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
