"""LinHub 邻枢: the services of the community backend and the layers they stand on."""
