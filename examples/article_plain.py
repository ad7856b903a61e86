"""The second program of "Where is the TensorFlow session managed within Keras?": the same without a session.

hornbeam run examples/article_plain.py
"""

from sklearn.datasets import load_diabetes
from tensorflow import keras

data = load_diabetes()
x_train = data.data / data.data.std(axis=0)
y_train = data.target[:, None] / data.target.std()  # a column, which each of the ten units learns

model = keras.Sequential([keras.layers.Dense(10, input_shape=(10,))])
model.compile(optimizer="sgd", loss="mse")
model.fit(x_train, y_train, epochs=10)
