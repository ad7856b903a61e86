"""``tf.compat.v1``: TensorFlow 1 over Hornbeam: graphs, placeholders, sessions.

    import tensorflow.compat.v1 as tf

    tf.disable_eager_execution()
    x = tf.placeholder(tf.float32, [None, 3])
    ...
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run([train, loss], feed_dict={x: batch})

Names that TensorFlow 2 has too are those of ``hornbeam.tensorflow``.
"""

import hornbeam.tensorflow as _tf
from hornbeam.tensorflow.compat.v1 import app, layers, logging, losses, nn, random, summary, train
from hornbeam.tensorflow.compat.v1.app import flags
from hornbeam.tensorflow.compat.v1.graphs import *
from hornbeam.tensorflow.compat.v1.old import *
from hornbeam.tensorflow.compat.v1.protos import (
    ConfigProto,
    GPUOptions,
    GraphOptions,
    OptimizerOptions,
    RunOptions,
)
from hornbeam.tensorflow.compat.v1.scopes import (
    AUTO_REUSE,
    VariableScope,
    get_variable,
    get_variable_scope,
    variable_scope,
)
from hornbeam.tensorflow.compat.v1.session import InteractiveSession, Session, get_default_session
from hornbeam.tensorflow.compat.v1.summary import Summary
from hornbeam.tensorflow.initializers import (
    glorot_normal_initializer,
    glorot_uniform_initializer,
    orthogonal_initializer,
    truncated_normal_initializer,
    variance_scaling_initializer,
)
from hornbeam.tensorflow.io import gfile
from hornbeam.tensorflow.names import absent as _absent
from hornbeam.tensorflow.summary import SummaryMetadata

globals().update({_n: _v for _n, _v in vars(_tf).items() if _n[0] != "_" and _n not in globals()})
__version__ = _tf.__version__
__getattr__ = _absent(__name__, globals(), _tf._LAZY)
