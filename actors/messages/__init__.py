"""What the actors say to each other: frozen, typed facts, orders and questions.

A module holds what one actor receives. ``deliveries`` is for the EventEmitter and the LogShipper.
"""
