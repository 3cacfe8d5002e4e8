"""What a server of ours needs, whatever it answers: connections that end, and a token."""
