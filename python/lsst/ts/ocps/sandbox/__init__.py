"""Everything on one machine for trying things out: broker, schema registry, service and CSC.

The broker and the registry here are development tools; production has Apache Kafka and a Confluent registry.
"""
