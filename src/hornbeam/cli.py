"""The command `hornbeam`. Each command imports what it needs when it runs, so that the others start fast."""

from __future__ import annotations

import os
import sys
from types import TracebackType

import click

from hornbeam import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="hornbeam %(version)s")
def main() -> None:
    """Hornbeam: the runtime under Keras."""


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-m", "as_module", is_flag=True, help="TARGET is a module's name, as in `python -m`.")
@click.argument("target")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(as_module: bool, target: str, arguments: tuple[str, ...]) -> None:
    """Run a Keras or TensorFlow program, unchanged, on Hornbeam.

    In it `import keras` is Keras on Hornbeam, and `tensorflow` is `hornbeam.tensorflow`. Where KERAS_BACKEND names
    another backend, the program runs on that one and nothing is changed.
    """
    if not as_module and not os.path.exists(target):
        raise click.UsageError(f"there is no file {target!r}. To run a module:  hornbeam run -m {target}")
    _prepare()
    sys.argv = [target, *arguments]  # runpy puts the whole path in place of the target
    if not sys.flags.safe_path:
        sys.path[0] = os.getcwd() if as_module else os.path.dirname(os.path.realpath(target))
    import runpy

    try:
        if as_module:
            runpy.run_module(target, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(os.path.abspath(target), run_name="__main__")
    except SystemExit:
        raise
    except BaseException as error:  # anything at all, as the interpreter would
        trace = _below_here(error.__traceback__)
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else 1)


def _prepare() -> None:
    """Give the program Keras on Hornbeam and TensorFlow's names, unless KERAS_BACKEND says otherwise."""
    from hornbeam.keras_setup import NAME, enable

    chosen = enable()
    if chosen == NAME:
        from hornbeam import tensorflow

        tensorflow.install()
    else:
        click.echo(f"hornbeam run: KERAS_BACKEND={chosen} is set, so Keras and TensorFlow stay as they are.", err=True)


def _below_here(trace: TracebackType | None) -> TracebackType | None:
    """The program's own part of a traceback: what comes after our frames and runpy's."""
    while trace is not None and trace.tb_frame.f_globals.get("__name__") in (__name__, "runpy"):
        trace = trace.tb_next
    return trace


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(as_json: bool) -> None:
    """Show versions, processor and Keras, and what is wrong with them. Exits with 1 if anything is."""
    from hornbeam import doctor as examination

    report = examination.examine()
    click.echo(examination.as_json(report) if as_json else examination.as_text(report))
    sys.exit(bool(report["problems"]))
