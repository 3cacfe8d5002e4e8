"""What heat cost a run: throttled time, slower steps, hours of accelerator, energy."""
