"""What was found out about runs that have ended, kept from one command to the next."""
