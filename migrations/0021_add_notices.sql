-- who is told of what, and whether it arrived
SELECT 1;
