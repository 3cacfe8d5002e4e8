"""Alerts: what they are, the rules that raise them, the policy that spaces them."""
