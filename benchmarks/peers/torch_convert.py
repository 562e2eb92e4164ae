"""What a user of torch and safetensors writes to convert a file."""

import sys

import torch
from safetensors.torch import save_file

checkpoint = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
save_file(checkpoint["model_state_dict"], sys.argv[2])
