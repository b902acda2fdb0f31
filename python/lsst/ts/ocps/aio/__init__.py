"""Habits of asyncio that every other package shares; standard library only."""
