"""What others build for the same job, measured on the same load and the same broker: never part of the product."""
