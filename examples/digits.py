"""Train a small network on scikit-learn's digits and save what the tour of the README uses.

    python examples/digits.py

Writes digits.keras, train.npz and test.npz: a Keras model, and samples under the name of its input
with their labels. Also request.json, one sample as a server takes it, and noisy.npz, the test
samples as a worse scanner would give them.
"""

import json
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

keras.utils.set_random_seed(0)
digits = load_digits()
images = (digits.images / 16.0).astype("float32")[..., np.newaxis]
train_x, test_x, train_y, test_y = train_test_split(
    images, digits.target, test_size=0.4, random_state=0
)

layers = keras.layers
model = keras.Sequential(
    [
        keras.Input((8, 8, 1), name="image"),
        layers.Conv2D(64, 3, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
        layers.Conv2D(128, 3, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
        layers.Conv2D(128, 3, use_bias=False),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10, name="digit"),
    ],
    name="digits",
)
model.compile(
    "adam",
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(train_x, train_y, epochs=8, batch_size=32, verbose=2)
model.evaluate(test_x, test_y, verbose=2)

model.save("digits.keras")
np.savez("train.npz", image=train_x, labels=train_y)
np.savez("test.npz", image=test_x, labels=test_y)
noise = np.random.default_rng(0).normal(0, 0.2, test_x.shape)
np.savez("noisy.npz", image=np.float32(test_x + noise))
request = {"name": "image", "shape": [1, 8, 8, 1], "datatype": "FP32"}
request |= {"data": test_x[0].ravel().tolist()}
Path("request.json").write_text(json.dumps({"inputs": [request]}), encoding="utf-8")
