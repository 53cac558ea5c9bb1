"""The lab: real hosts on one machine, as User Mode Linux guests in a network namespace of their own."""
