"""WHAT SHOULD BE DONE? Verdicts and policy in, Plan out. Pure: no server, no clock."""
