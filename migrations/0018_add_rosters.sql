-- who is on duty
SELECT 1;
