"""What to look at first when an alert was raised: sinks send it with every alert, the page shows it."""

from collections.abc import Mapping

ADVICE: Mapping[str, str] = {
    "spike.grad": "the batch of this step, and the loss of the next ones; a norm far above its level is "
    "often one bad batch, or a learning rate that has become too high",
    "spike.loss": "the batch of this step, and whether the gradient norm spiked before it",
    "shift.grad": "what changed slowly: learning rate, data mixture, loss scale",
    "nonfinite": "loss scale and learning rate, then the batch; restart from a checkpoint before this step "
    "if the loss does not come back",
    "zero_grad": "frozen parameters, a detached graph, or a loss that is masked out completely",
    "collapse.thermal": "airflow, fans and inlet temperature of this device; neighbours that are just as hot",
    "collapse.brake": "the power supply: an external brake or a hardware slowdown that is not heat",
    "throttle.warn": "temperature of this device; it is about to lose speed",
    "power_limited": "nothing: a device at its power limit is normal; compare the limit with its neighbours'",
    "coupling": "a common cause that is not recorded (length of sequences, evaluation, data loading), then "
    "`thermograd analyze`",
    "slow.rank": "this rank's GPU (clock, temperature), its host's processor, and its share of the data; "
    "then `thermograd devices`",
    "effect": "the experiment in `thermograd analyze`: whether the device did get cooler, and how wide the "
    "interval of the effect is; it may be looked at as often as you like, and need not go on",
    "sensor.gap": "the driver and the load of the host: readings came late or not at all",
    "silent.device": "`nvidia-smi` and `dmesg` on its host: a lost GPU (XID 79) needs a reset or a reboot, a "
    "driver that hangs may come back; then power, slot and neighbours of the device",
    "silent.rank": "its process (`ps`, `py-spy dump`): one that is stopped goes on with `kill -CONT`; of "
    "one that is gone `dmesg` says whether memory was short. The other ranks wait for it",
    "silent.agent": "the host: is it reachable, is its memory or disk full? While its agent is silent no "
    "device is sampled there, and no alert comes from there",
}
