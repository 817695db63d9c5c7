"""What the integration tests are built from: real programs, real images, no mocks."""
