"""The language the actors speak: frozen, typed facts, orders and questions."""
