"""Who may charge: the rules, wrong key codes, the log of decisions and its explanation."""
