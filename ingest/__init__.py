"""What fills the log: training capture, the agent's sampler, device readers, importers."""
