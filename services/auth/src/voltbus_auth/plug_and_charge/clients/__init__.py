"""How other systems are asked."""
