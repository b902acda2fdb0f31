"""Kafka as the runtime sees it: one seam, one real broker and one in memory."""
