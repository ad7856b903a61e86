"""Trains one Keras classifier on real handwritten digits in three modes, and then shows where its session is.

    scripts/demo

The data are the 1,797 digits that come with scikit-learn. The modes start from the same weights and see the same
batches, so their losses can be compared. Exits with 1 if a mode stays below 97 % on the test digits, or if the losses
of the modes differ in a single bit.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import hornbeam as hb
from hornbeam import keras

EPOCHS, BATCH, SEED, GOAL = 12, 32, 3, 0.97

digits = load_digits()
images = (digits.images / 16.0).astype("float32")[..., None]
x_train, x_test, y_train, y_test = train_test_split(
    images, digits.target.astype("int32"), train_size=45 * BATCH, random_state=SEED, stratify=digits.target
)
STEPS = EPOCHS * len(x_train) // BATCH


def build() -> Any:
    """The same network with the same first weights, however often it is called."""
    keras.utils.set_random_seed(SEED)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.005, STEPS)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


# -- three ways to train it ----------------------------------------------------------------------------


def training_step(model: Any) -> Callable[[Any, Any], Any]:
    """One step written out by hand, as in any program with a tape."""

    def step(x: Any, y: Any) -> Any:
        with hb.GradientTape() as tape:
            loss = model.loss(y, model(x, training=True))
        weights = model.trainable_variables
        model.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    return step


def loop(model: Any, step: Callable[[Any, Any], Any], report: Callable[[float], None]) -> None:
    for _ in range(EPOCHS):
        for i in range(0, len(x_train), BATCH):
            report(float(step(x_train[i : i + BATCH], y_train[i : i + BATCH])))


def in_a_session(model: Any, report: Callable[[float], None]) -> None:
    loop(model, hb.function(training_step(model)), report)


def eagerly(model: Any, report: Callable[[float], None]) -> None:
    loop(model, training_step(model), report)


def with_fit(model: Any, report: Callable[[float], None]) -> None:
    class EachStep(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            model.reset_metrics()  # what Keras logs is then the loss of this step, not the mean of the epoch so far

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            report(float(logs["loss"]))

    model.fit(x_train, y_train, BATCH, EPOCHS, shuffle=False, verbose=0, callbacks=[EachStep()])


class Outcome(NamedTuple):
    mode: str
    losses: list[float]
    accuracy: float
    seconds: float


def train(mode: str, how: Callable[[Any, Callable[[float], None]], None], progress: Progress) -> tuple[Any, Outcome]:
    model, losses = build(), []
    task = progress.add_task(mode, total=STEPS, loss="")

    def report(loss: float) -> None:
        losses.append(loss)
        progress.update(task, advance=1, loss=f"loss {loss:.4f}")

    began = time.perf_counter()
    how(model, report)
    seconds = time.perf_counter() - began
    accuracy = model.evaluate(x_test, y_test, verbose=0, return_dict=True)["accuracy"]
    return model, Outcome(mode, losses, accuracy, seconds)


# -- the show -------------------------------------------------------------------------------------------


def main() -> int:
    console = Console()
    console.print(f"{len(x_train)} digits to learn from, {len(x_test)} to be tested on; Keras {keras.__version__}\n")
    columns = [TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    session = hb.Session(seed=SEED, name="demo")
    with Progress(*columns, TextColumn("{task.fields[loss]}"), console=console) as progress:
        with session.as_default():
            model, first = train("explicit session", in_a_session, progress)
        outcomes = [first, train("eager", eagerly, progress)[1], train("function (fit)", with_fit, progress)[1]]

    table = Table(title=f"\nThe same {STEPS} steps in three modes")
    for heading in ("mode", "first loss", "last loss", "test accuracy", "seconds"):
        table.add_column(heading, justify="left" if heading == "mode" else "right")
    for mode, losses, accuracy, seconds in outcomes:
        table.add_row(mode, f"{losses[0]:.6f}", f"{losses[-1]:.6f}", f"{accuracy:.2%}", f"{seconds:.1f}")
    console.print(table)

    equal = all(np.array_equal(o.losses, first.losses) for o in outcomes)
    console.print(f"Every loss of the three modes is {'equal, to the last bit' if equal else 'NOT equal'}.\n")

    console.print("[bold]Where is the session managed within Keras?[/bold]   print(hb.where(model))\n")
    print(hb.where(model))
    console.print("\nAfter   session.close()   the model says:\n")
    session.close()
    try:
        model.predict(x_test, verbose=0)
    except hb.SessionClosedError as error:
        print(error)
    else:
        console.print("NOTHING, though its session is closed.")
        return 1
    if min(o.accuracy for o in outcomes) < GOAL:
        console.print(f"\n[red]A mode stayed below {GOAL:.0%}.[/red]")
        return 1
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
