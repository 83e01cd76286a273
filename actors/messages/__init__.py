"""What the actors say to each other: frozen, typed facts, orders and questions.

A module holds what one actor receives. The EventEmitter is told :class:`WorkerEvent`, the
LogShipper :class:`LogLine`.
"""
