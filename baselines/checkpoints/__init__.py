"""Checkpoints: ours, written whole or not at all, and the official files of both methods.

Ours is one safetensors file: the tensors of every network under its name ("restorer.…",
"critic.…"), what a training run needs to continue, and the record of both in the header.

Nothing here runs code from a file: PyTorch files are read with `weights_only=True`. A tensor that
is missing, unexpected or of another shape is an error that lists them all.

| official file       | what it holds                         | what we do                         |
|---------------------|---------------------------------------|------------------------------------|
| DeepDeblur-PyTorch, | "G": `body_models.*` and              | same weights, biases / 255, that   |
| `model-N.pt`        | `conv_end_models.*`, for 0..255       | release's pyramid                  |
| DeblurGAN,          | `model.*`, two convolutions per block | same weights without the running   |
| `latest_net_G.pth`  | (11.4 M parameters)                   | statistics, which its code never   |
|                     |                                       | reads; finds out about the skip    |
| the same, trained   | one convolution per block (6.07 M),   | refused, with the reason           |
| since March 2019    | by a mistake in the code              |                                    |

Why dividing the biases is exact: convolution, ReLU, sum and pixel shuffle without biases commute
with a positive factor. If y = W x + b on 0..255, then y / 255 = W (x / 255) + b / 255, layer after
layer; and 127.5 / 255 is the 0.5 that we subtract and add. Only float rounding differs.
"""
