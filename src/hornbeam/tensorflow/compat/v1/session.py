"""``Session`` with TensorFlow 1's arguments and rules, over the runtime's own."""

from __future__ import annotations

import sys
from typing import Any

from hornbeam.base import tree
from hornbeam.errors import FetchError, SessionError, explain
from hornbeam.runtime import session as sessions
from hornbeam.runtime.graph import Call, Graph, GraphTensor, recording
from hornbeam.runtime.tensor import Tensor
from hornbeam.runtime.variable import variable_of
from hornbeam.tensorflow.compat.v1.protos import ConfigProto, RunOptions


class Session(sessions.Session):
    """Runs a graph; or, opened in eager mode, holds what is made and computed while it is the default session.

    Where a graph is the default (inside ``with graph.as_default()``, or after ``disable_eager_execution()``) the
    session runs that one. Opened in eager mode without a graph it leaves eager mode on:

        sess = tf.compat.v1.Session()
        with sess.as_default():
            model = build()  # its variables live in sess
            model.fit(x, y)
        sess.close()  # and here they end

    Raises:
        TypeError: ``graph`` or ``config`` is something else.
        ValueError: ``target`` names another process; a session is of this one.
    """

    def __init__(self, target: str = "", graph: Graph | None = None, config: ConfigProto | None = None) -> None:
        if not isinstance(target, (str, bytes)):
            hint = "config=" if isinstance(target, ConfigProto) else "graph=" if isinstance(target, Graph) else ""
            raise TypeError(
                f"target must be a string, got {type(target).__name__}." + f" Did you mean {hint}?" * bool(hint)
            )
        if target:
            raise ValueError(
                f"Session(target={target!r}): sessions of other processes are not there. Fix: tf.compat.v1.Session()"
            )
        if graph is not None and not isinstance(graph, Graph):
            raise TypeError(f"graph must be a tf.Graph, got {type(graph).__name__}.")
        if config is not None and not isinstance(config, ConfigProto):
            raise TypeError(f"config must be a tf.compat.v1.ConfigProto, got {type(config).__name__}.")
        config = config or ConfigProto()
        graph = graph or recording()
        super().__init__(graph, threads=config.intra_op_parallelism_threads or None)
        if config.log_device_placement:
            print(f"Device mapping: all operations of {self!r}: /device:CPU:0", file=sys.stderr)

    def run(
        self, fetches: Any, feed_dict: Any = None, options: RunOptions | None = None, run_metadata: Any = None
    ) -> Any:
        """Values of ``fetches``, in their structure; see ``hornbeam.runtime.graph.run``.

        Raises:
            TypeError: None, or something that is no tensor, operation, variable or name, is fetched.
            SessionError: this session has no graph.
        """
        self._check_open()
        if run_metadata is not None:
            raise SessionError(explain("run_metadata is not there: runs are not traced."))
        if self.graph is None:
            raise SessionError(_eager(fetches))
        try:
            return super().run(fetches, {} if feed_dict is None else _feeds(feed_dict))
        except FetchError as error:
            raise _type_error(fetches) or error from None

    def make_callable(self, fetches: Any, feed_list: Any = None, accept_options: bool = False) -> Any:
        """``run`` with the fetches fixed: a function of the values of ``feed_list``, in that order."""
        return super().make_callable(fetches, feed_list)

    def partial_run(self, *args: Any, **kwargs: Any) -> Any:
        """Raises SessionError: a run is whole."""
        raise SessionError(explain("partial_run is not there; a run is whole.", fix="sess.run with all that it needs"))


def _eager(fetches: Any) -> str:
    eager = [x for x in tree.leaves(fetches) if isinstance(x, Tensor) or variable_of(x) is not None]
    what = f"; {eager[0]!r:.60} is eager, it has its value already" if eager else ""
    return explain(
        f"this session has no graph to run{what}.",
        why="It was opened in eager mode, where operations run at once.",
        fix="x.numpy() for a value; for a graph   with tf.Graph().as_default():   around building and Session()",
    )


def _type_error(fetches: Any) -> FetchTypeError | None:
    """The error for what cannot be fetched at all, which in TensorFlow is a TypeError; None if all can."""
    if fetches is None:
        return FetchTypeError(
            explain(
                "None cannot be fetched.",
                why="Often it is what an initializer made in eager mode returned, or an unconnected gradient.",
            )
        )
    if isinstance(fetches, (list, tuple, dict)):
        parts = fetches.values() if isinstance(fetches, dict) else fetches
        return next(filter(None, map(_type_error, parts)), None)
    if isinstance(fetches, (str, GraphTensor, Call, Tensor)) or variable_of(fetches) is not None:
        return None
    return FetchTypeError(
        explain(f"{fetches!r:.60} of type {type(fetches).__name__} must be a string or Tensor to be fetched.")
    )


class FetchTypeError(FetchError, TypeError):
    """Something was fetched that is no tensor, operation, variable or name."""


def _feeds(feed_dict: Any) -> dict[Any, Any]:
    """Feeds with nested keys taken apart."""
    out: dict[Any, Any] = {}
    for key, value in feed_dict.items():
        if isinstance(key, tuple):
            out.update(zip(tree.leaves(key), tree.leaves(value), strict=True))
        else:
            out[key] = value.numpy() if isinstance(value, Tensor) else value
    return out


class InteractiveSession(Session):
    """A session that is the default one from the start, until it is closed."""

    def __init__(self, target: str = "", graph: Graph | None = None, config: ConfigProto | None = None) -> None:
        super().__init__(target, graph, config)
        self._entered: Any = sessions.Session.as_default(self)
        self._entered.__enter__()

    def __enter__(self) -> Any:
        raise TypeError("an InteractiveSession is entered already; close it with sess.close().")

    def close(self) -> None:
        """Give back what it holds, and the place of the default session."""
        if self._entered is not None:
            entered, self._entered = self._entered, None
            entered.__exit__(None, None, None)
        super().close()


def get_default_session() -> sessions.Session | None:
    """The innermost session entered here, None if there is none."""
    return sessions.entered()
