"""TensorFlow 1 style: linear regression on scikit-learn's diabetes data.

hornbeam run examples/tf1_linear_regression.py
"""

import numpy as np
import tensorflow.compat.v1 as tf
from sklearn.datasets import load_diabetes

tf.disable_eager_execution()
tf.set_random_seed(0)

data = load_diabetes()
features = data.data / data.data.std(axis=0)
target = (data.target - data.target.mean()) / data.target.std()

x = tf.placeholder(tf.float32, [None, features.shape[1]], name="x")
y = tf.placeholder(tf.float32, [None], name="y")
weights = tf.Variable(tf.zeros([features.shape[1], 1]), name="weights")
bias = tf.Variable(tf.zeros([1]), name="bias")
prediction = tf.squeeze(tf.matmul(x, weights) + bias, axis=1)
loss = tf.reduce_mean(tf.square(prediction - y))
train_op = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
init = tf.global_variables_initializer()

with tf.Session() as sess:
    sess.run(init)
    for step in range(301):
        _, value = sess.run([train_op, loss], feed_dict={x: features, y: target})
        if step % 100 == 0:
            print(f"step {step:3d}  loss {value:.4f}")
    left_out = sess.run(loss, feed_dict={x: features[:50], y: target[:50]})  # another batch size
    print(f"loss of the first 50 rows {left_out:.4f}")
    found = np.append(sess.run(weights).ravel(), sess.run(bias))

exact, *_ = np.linalg.lstsq(np.c_[features, np.ones(len(features))], target, rcond=None)
best = np.mean((np.c_[features, np.ones(len(features))] @ exact - target) ** 2)
print(f"least squares  loss {best:.4f}")
assert value < best + 0.01, (value, best)
