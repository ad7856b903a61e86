"""TensorFlow 1 style: logistic regression on scikit-learn's handwritten digits.

hornbeam run examples/tf1_logistic_regression.py
"""

import numpy as np
import tensorflow.compat.v1 as tf
from sklearn.datasets import load_digits

tf.disable_v2_behavior()

digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.target))
images, labels = (digits.data / 16.0)[order], digits.target[order]
train, test = slice(0, 1400), slice(1400, None)

x = tf.placeholder(tf.float32, shape=[None, 64], name="images")
y = tf.placeholder(tf.int64, shape=[None], name="labels")
with tf.variable_scope("softmax"):
    w = tf.get_variable("w", [64, 10], initializer=tf.zeros_initializer())
    b = tf.get_variable("b", [10], initializer=tf.zeros_initializer())
logits = tf.matmul(x, w) + b
loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), y), tf.float32))
train_op = tf.train.GradientDescentOptimizer(learning_rate=0.5).minimize(loss)

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for epoch in range(20):
        for start in range(0, 1400, 100):
            batch = slice(start, start + 100)
            _, value = sess.run([train_op, loss], feed_dict={x: images[batch], y: labels[batch]})
        if epoch % 5 == 4:
            score = sess.run(accuracy, feed_dict={x: images[test], y: labels[test]})
            print(f"epoch {epoch + 1:2d}  loss {value:.4f}  test accuracy {score:.3f}")

assert score > 0.9, score
