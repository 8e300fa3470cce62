"""What theory gives in closed form: flows, success regions and success rates."""
