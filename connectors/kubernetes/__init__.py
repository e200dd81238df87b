"""Decisions for a DynamoGraphDeployment: its workers are scaled through the API of the cluster."""
