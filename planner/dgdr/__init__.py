"""From an SLA to a running deployment: DynamoGraphDeploymentRequest."""
