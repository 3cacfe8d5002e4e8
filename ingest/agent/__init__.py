"""The agent: one process a node that samples the devices and watches the logs."""
