#!/usr/bin/env bash
# Expected: in a Keras 3 file of weights, the group `layers/lstm_1` holds the weights of the layer named `lstm_1`.
# It does not: groups have the class's name, counted in the order of `model.layers`. A layer named `lstm_1` that comes
# first is in `layers/lstm`, and the layer named `lstm` after it in `layers/lstm_1`. Who reads the file by layer names
# gets the other layer's weights, without an error where the sizes agree. The older .h5 goes by names.
# Where it counts here: src/serialization/formats/keras/groups.ts counts classes in the order of config.json.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2
cd "$folder"
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import h5py
import keras
from keras import layers

model = keras.Sequential(
    [
        layers.Input((4, 2)),
        layers.LSTM(3, return_sequences=True, name="lstm_1"),
        layers.LSTM(5, return_sequences=True, name="lstm"),
    ]
)
model.save_weights("model.weights.h5")
model.save("model.h5")
with h5py.File("model.weights.h5") as new, h5py.File("model.h5") as old:
    kernels = {name: new[f"layers/{name}/cell/vars/0"].shape for name in ("lstm", "lstm_1")}
    names = {name: new[f"layers/{name}/vars"].attrs["name"] for name in ("lstm", "lstm_1")}
    paths = list(old["model_weights/lstm_1"].attrs["weight_names"])
print(f"keras {keras.__version__}: groups {kernels}, whose layers are {names}; in model.h5 lstm_1 has {paths[0]}")
assert kernels == {"lstm": (2, 12), "lstm_1": (3, 20)}, "the behaviour has changed"
assert names == {"lstm": "lstm_1", "lstm_1": "lstm"}, "the behaviour has changed"
PYTHON
