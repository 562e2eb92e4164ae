"""DQN in one file, in the manner of CleanRL, with ckptfmt checkpoints; the lines marked `ckptfmt` are all it takes.

python docs/recipes/single_file_dqn.py --env-id ckptfmt/Catch-v0 --total-timesteps 2000
"""

import argparse
import random
import time

import ale_py
import gymnasium as gym
import numpy as np
import torch
from torch import nn, optim
from torch.nn import functional

import ckptfmt.rl.envs  # noqa: F401  # ckptfmt: registers the game that is played by default
from ckptfmt import save_model_checkpoint  # ckptfmt
from ckptfmt.rl.integrations.adopt import adopt  # ckptfmt

gym.register_envs(ale_py)


def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--env-id", default="ckptfmt/Catch-v0")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--total-timesteps", type=int, default=2000)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--num-envs", type=int, default=1)
    parser.add_argument("--buffer-size", type=int, default=1000)
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--target-network-frequency", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-starts", type=int, default=200)
    parser.add_argument("--train-frequency", type=int, default=4)
    parser.add_argument("--save-frequency", type=int, default=500)
    parser.add_argument("--runs", default="runs")
    return parser.parse_args()


def make_env(env_id):
    def thunk():
        env = gym.make(env_id) if not env_id.startswith("ALE/") else gym.make(env_id, frameskip=1)
        env = gym.wrappers.RecordEpisodeStatistics(env)
        if env_id.startswith("ALE/"):
            env = gym.wrappers.AtariPreprocessing(env)
        return gym.wrappers.FrameStackObservation(env, 4)

    return thunk


class QNetwork(nn.Module):
    def __init__(self, envs):
        super().__init__()
        convolutions = [
            nn.Conv2d(4, 32, 8, stride=4), nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2), nn.ReLU(),
            nn.Conv2d(64, 64, 3, stride=1), nn.ReLU(),
            nn.Flatten(),
        ]  # fmt: skip
        features = nn.Sequential(*convolutions)(torch.zeros(1, *envs.single_observation_space.shape)).shape[1]
        head = [nn.Linear(features, 512), nn.ReLU(), nn.Linear(512, envs.single_action_space.n)]
        self.network = nn.Sequential(*convolutions, *head)

    def forward(self, x):
        return self.network(x / 255.0)


class Buffer:
    def __init__(self, size, envs):
        shape = envs.single_observation_space.shape
        self.obs, self.next_obs = (np.zeros((size, *shape), np.uint8) for _ in range(2))
        self.actions, self.rewards, self.dones = np.zeros(size, np.int64), np.zeros(size, "f4"), np.zeros(size, "f4")
        self.size, self.added = size, 0

    def add(self, *transition):
        arrays = (self.obs, self.next_obs, self.actions, self.rewards, self.dones)
        for array, value in zip(arrays, transition, strict=True):
            array[self.added % self.size] = value
        self.added += 1

    def sample(self, count):
        rows = np.random.randint(min(self.added, self.size), size=count)
        arrays = (self.obs, self.next_obs, self.actions, self.rewards, self.dones)
        return [torch.from_numpy(array[rows]) for array in arrays]


if __name__ == "__main__":
    args = parse_args()
    run_name = f"{args.env_id.replace('/', '-')}__{args.seed}__{int(time.time())}"
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)

    envs = gym.vector.SyncVectorEnv([make_env(args.env_id) for _ in range(args.num_envs)])
    q_network = QNetwork(envs)
    target_network = QNetwork(envs)
    target_network.load_state_dict(q_network.state_dict())
    optimizer = optim.Adam(q_network.parameters(), lr=args.learning_rate)
    buffer = Buffer(args.buffer_size, envs)
    adopted = adopt(q_network, envs)  # ckptfmt

    obs, _ = envs.reset(seed=args.seed)
    over = np.zeros(args.num_envs, dtype=bool)
    for global_step in range(1, args.total_timesteps + 1):
        epsilon = max(0.05, 1 - global_step / (0.5 * args.total_timesteps))
        if random.random() < epsilon:
            actions = envs.action_space.sample()
        else:
            actions = q_network(torch.from_numpy(obs).float()).argmax(dim=1).numpy()
        next_obs, rewards, terminations, truncations, _ = envs.step(actions)
        for i in np.flatnonzero(~over):  # where an episode was over, this step began a new one
            buffer.add(obs[i], next_obs[i], actions[i], rewards[i], terminations[i])
        obs, over = next_obs, terminations | truncations

        if global_step > args.learning_starts and global_step % args.train_frequency == 0:
            seen, after, acted, gained, ended = buffer.sample(args.batch_size)
            with torch.no_grad():
                target = gained + args.gamma * target_network(after.float()).amax(dim=1) * (1 - ended)
            value = q_network(seen.float()).gather(1, acted[:, None]).squeeze(1)
            loss = functional.mse_loss(value, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if global_step % args.target_network_frequency == 0:
            target_network.load_state_dict(q_network.state_dict())
        if global_step % args.save_frequency == 0:  # ckptfmt
            info = {"frame_idx": global_step, "training_config": vars(args)}
            path = f"{args.runs}/{run_name}/step-{global_step}"
            save_model_checkpoint(adopted, adopted.config, info, path, environment=envs.envs[0])  # ckptfmt
    envs.close()
