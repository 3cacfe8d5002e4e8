"""What happens around events: averages locked to spikes, onsets, coincidence."""
