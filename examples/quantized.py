"""Train the network of digits.py with 4-bit weights, and predict with the file that comes of it.

    python examples/digits.py
    python examples/quantized.py

Reads digits.keras, train.npz and test.npz, and writes int4.onnx.
"""

import keras
import numpy as np

from quantizers import QuantizedModel
from runtimes import open_runtime

keras.utils.set_random_seed(0)
train, test = np.load("train.npz"), np.load("test.npz")

model = QuantizedModel("digits.keras", "train.npz", weight_bits=4, per_channel=False)
model.compile(
    keras.optimizers.Adam(1e-3),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
before = model.evaluate(test["image"], test["labels"], verbose=0)[1]
model.fit(train["image"], train["labels"], epochs=8, batch_size=32, verbose=0)
after = model.evaluate(test["image"], test["labels"], verbose=0)[1]
print(
    f"4-bit weights, one scale a tensor: accuracy {before:.4f} before training, {after:.4f} after"
)

model.to_onnx("int4.onnx", force=True)
with open_runtime("int4.onnx") as runtime:
    digits = runtime.run({"image": test["image"]})["digit"].argmax(axis=1)
print(f"int4.onnx in ONNX Runtime: accuracy {np.mean(digits == test['labels']):.4f}")
