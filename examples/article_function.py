"""The third program of "Where is the TensorFlow session managed within Keras?": a traced training step.

hornbeam run examples/article_function.py
"""

import tensorflow as tf
from sklearn.datasets import load_diabetes

data = load_diabetes()
x_train = data.data / data.data.std(axis=0)
y_train = data.target[:, None] / data.target.std()

model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(10,))])
model.compile(optimizer="sgd", loss="mse")


@tf.function
def train_step(model, inputs, targets):
    with tf.GradientTape() as tape:
        predictions = model(inputs)
        loss = tf.reduce_mean(tf.keras.losses.mse(targets, predictions))
    gradients = tape.gradient(loss, model.trainable_variables)
    model.optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss


for epoch in range(10):
    loss = train_step(model, x_train, y_train)
    print(f"epoch {epoch + 1}: loss {loss.numpy():.4f}")
