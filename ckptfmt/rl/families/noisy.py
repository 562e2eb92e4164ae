"""The noisy linear layer with factorised Gaussian noise (Fortunato et al. 2018, section 3)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["NoisyLinear", "reset_noise"]


class NoisyLinear(nn.Module):
    """A linear layer whose weights and biases carry learned noise while the module is in training mode.

    Weights are `mu + sigma * epsilon` with `epsilon = f(e_out) f(e_in)^T`, `f(x) = sgn(x) sqrt(|x|)`. The
    two noise vectors are the buffers `epsilon_input` (in_features) and `epsilon_output` (out_features).
    In eval mode only the means are used.
    """

    epsilon_input: Tensor
    epsilon_output: Tensor

    def __init__(self, in_features: int, out_features: int, std_init: float = 0.5) -> None:
        super().__init__()
        self.in_features, self.out_features, self.std_init = in_features, out_features, std_init
        self.weight_mu = nn.Parameter(torch.empty(out_features, in_features))
        self.weight_sigma = nn.Parameter(torch.empty(out_features, in_features))
        self.bias_mu = nn.Parameter(torch.empty(out_features))
        self.bias_sigma = nn.Parameter(torch.empty(out_features))
        self.register_buffer("epsilon_input", torch.zeros(in_features))
        self.register_buffer("epsilon_output", torch.zeros(out_features))
        # On the meta device there are no numbers to draw, and torch computes shapes slowly, in Python.
        if not self.weight_mu.is_meta:
            self.reset_parameters()
            self.reset_noise()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the means from U(-1/sqrt(in), 1/sqrt(in)); set the sigmas to std_init/sqrt(in)."""
        bound = 1 / math.sqrt(self.in_features)
        for mean in (self.weight_mu, self.bias_mu):
            mean.uniform_(-bound, bound)
        self.reset_sigma(self.std_init)

    @torch.no_grad()
    def reset_sigma(self, std_init: float) -> None:
        """Set the sigmas to std_init/sqrt(in), which draws nothing."""
        self.std_init = std_init
        for sigma in (self.weight_sigma, self.bias_sigma):
            sigma.fill_(std_init * (1 / math.sqrt(self.in_features)))

    @torch.no_grad()
    def reset_noise(self) -> None:
        """Draw new noise from torch's default generator of the buffers' device."""
        for epsilon in (self.epsilon_input, self.epsilon_output):
            epsilon.normal_()
            epsilon.copy_(epsilon.sign() * epsilon.abs().sqrt())

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_features) to (batch, out_features)."""
        mean = functional.linear(x, self.weight_mu, self.bias_mu)
        if not self.training:
            return mean
        # The outer product is never formed: (sigma * e_out e_in^T) x = e_out * (sigma (e_in * x)).
        noise = functional.linear(x * self.epsilon_input, self.weight_sigma, self.bias_sigma)
        return mean + self.epsilon_output * noise

    def extra_repr(self) -> str:
        """Return what `print(model)` shows of the layer."""
        return f"in_features={self.in_features}, out_features={self.out_features}, std_init={self.std_init}"


def reset_noise(module: nn.Module) -> None:
    """Draw new noise for every noisy layer inside `module`."""
    for layer in module.modules():
        if isinstance(layer, NoisyLinear):
            layer.reset_noise()
