"""The controller of DynamoGraphDeploymentRequests."""
