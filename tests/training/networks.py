"""Networks of the trainer as the service reads them."""

from service.core.network import Dense
from training.model.mlp import OUTPUT, Net


def layers_of(net: Net) -> dict[str, Dense]:
    """Return the layers of a settled net, from input to output."""
    return {
        name: Dense(layer.weight.detach().numpy().T, layer.bias.detach().numpy(), is_rectified=name != OUTPUT)
        for name, layer in net.dense.items()
    }
