"""What code bases usually do with networks of these names, where weights do not show it: likely, and no more.

Names are copied from project to project while the code around them changes, so what stands here is assumed, and
the answer says so. An entry is found by names that its code base gives its layers.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any

from ckptfmt.format.record import record

__all__ = ["HABITS", "Habit", "habit_of"]


@record
class Habit:
    """A code base: what each of `names` is found in, and the fields of a config that it usually has.

    `last` is what follows the last layer of a trunk, where that is another activation; `bare` is found in the name of
    a layer that nothing follows.
    """

    name: str
    names: tuple[str, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    bare: str = ""

    def is_bare(self, layer: str) -> bool:
        """Whether no activation follows a layer of this name."""
        return bool(self.bare) and re.search(self.bare, layer) is not None


_TANH = {"activation": "tanh"}
_ELU = {"activation": "elu", "input_scale": 1.0}
# The code of Haarnoja et al. 2018 clamps the logarithm of deviations so, and libraries took it over.
_CLAMPED = {"deviation_range": (-20.0, 2.0), "squash": "tanh"}
_BOUNDED = {"deviation_range": (-5.0, 2.0), "deviation_bound": "tanh"}
# In the place of an LSTM of the value, RecurrentPPO may have a linear layer alone.
_NO_LSTM = r"(^|\.)critic$"
# What each has in its source; frames are divided by 255 where its network does it itself.
HABITS: tuple[Habit, ...] = (
    Habit(
        "Stable-Baselines3, exploring by the state",
        (r"actor\.latent_pi\.0\.", r"actor\.mu\.0\.", r"actor\.log_std$"),
        {"squash": "tanh", "mean_range": (-2.0, 2.0)},
    ),
    Habit("Stable-Baselines3, off-policy", (r"actor\.latent_pi\.0\.", r"critic\.qf0\."), _CLAMPED),
    Habit("Stable-Baselines3, off-policy", (r"actor\.mu\.0\.", r"critic\.qf0\."), {"squash": "tanh"}),
    Habit(
        "Stable-Baselines3, on frames",
        (r"features_extractor\.cnn\.", r"action_net\."),
        {"input_scale": 255.0},
        _NO_LSTM,
    ),
    Habit("Stable-Baselines3", (r"mlp_extractor\.|lstm_actor\.", r"action_net\."), _TANH, _NO_LSTM),
    Habit("Stable-Baselines3, quantiles", (r"quantile_net\.quantile_net\.\d",), {"order": "quantile"}),
    Habit(
        "rl_games",
        (r"a2c_network\.", r"(^|\.)mu\.|(^|\.)logits\."),
        {"activation": "elu", "normalizer_epsilon": 1e-5, "normalizer_range": (-5.0, 5.0), "input_scale": 1.0},
    ),
    Habit(
        "Sample Factory",
        (r"action_parameterization\.", r"critic_linear\."),
        {
            "activation": "elu",
            "normalizer_epsilon": 1e-5,
            "normalizer_range": (-5.0, 5.0),
            "input_scale": 255.0,
            "deviation_is": "log",
        },
    ),
    Habit("rsl_rl", (r"_obs_normalizer\._mean", r"actor\.0\."), {"activation": "elu", "normalizer_epsilon": 1e-2}),
    Habit(
        "skrl", (r"state_preprocessor\.running_mean",), {"normalizer_epsilon": 1e-8, "normalizer_range": (-5.0, 5.0)}
    ),
    Habit("ElegantRL", (r"state_avg$", r"action_std_log$"), {"activation": "relu", "normalizer_epsilon": 1e-4}),
    Habit("rsl_rl", (r"(^|/)std$", r"actor\.0\.", r"critic\.0\."), {"activation": "elu"}),
    Habit("CleanRL, SAC on frames", (r"fc_logits\.", r"qf1.*fc_q\."), {"input_scale": 255.0}),
    Habit("CleanRL, on frames", (r"network\.0\.", r"actor\.weight", r"critic\.weight"), {"input_scale": 255.0}),
    Habit("CleanRL, residual", (r"network\.0\.res_block0\.",), {"input_scale": 255.0}),
    Habit("CleanRL, SAC", (r"fc_mean\.", r"fc_logstd\.", r"action_scale"), {"squash": "tanh", **_BOUNDED}),
    Habit("CleanRL", (r"fc_mu\.", r"action_scale"), {"squash": "tanh"}),
    Habit("CleanRL, Q-values", (r"(^|[./])network\.0\.", r"network\.9\."), {"input_scale": 255.0}),
    Habit("deeprl of Zhang", (r"phi_body\.conv1\.", r"fc_action\."), {"input_scale": 1.0}),
    Habit("ikostrikov, on frames", (r"base\.main\.0\.", r"base\.critic_linear\."), {"input_scale": 255.0}),
    Habit("toshikwa, quantile networks", (r"dqn_net\.net\.0\.", r"cosine_net\."), {"input_scale": 255.0}),
    Habit("pytorch-a3c", (r"lstm\.weight_ih$", r"critic_linear\.", r"actor_linear\."), _ELU),
    Habit("Tianshou, on-policy and continuous", (r"actor\.preprocess\.", r"actor\.sigma_param"), _TANH),
    Habit("Tianshou, off-policy", (r"actor\.preprocess\.", r"actor\.sigma\.", r"critic2?\."), _CLAMPED),
    Habit(
        "Tianshou",
        (r"actor\.preprocess\.", r"actor\.last\."),
        {"squash": "tanh", "activation": "relu", "input_scale": 1.0},
    ),
    Habit("Tianshou, implicit quantiles", (r"preprocess\.model\.model\.", r"embed_model\."), {"last": "none"}),
    Habit("Tianshou, recurrent", (r"model\.nn\.weight_ih_l0", r"model\.fc1\."), {"activation": "none"}),
    Habit("pytorch-soft-actor-critic", (r"mean_linear\.", r"log_std_linear\."), _CLAMPED),
    Habit("DRL-Pytorch", (r"mu_layer\.", r"log_std_layer\."), _CLAMPED),
)


def habit_of(names: Iterable[str]) -> Habit:
    """Return the first code base whose names these are; one without a name and fields where there is none."""
    told = list(names)
    for habit in HABITS:
        if all(any(re.search(pattern, name) for name in told) for pattern in habit.names):
            return habit
    return Habit("", ())
